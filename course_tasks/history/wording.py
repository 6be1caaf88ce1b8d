"""How numbers are said in English, so that the title, the text line and the card say them alike."""

FEW = 4
"""How many items a list names before it says "and 12 more"."""

NUMERALS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def count(number, noun):
    """``count(1, "run")`` is "1 run", ``count(4, "run")`` is "4 runs"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def numeral(number):
    """``numeral(2)`` is "two"; above ten, digits."""
    return NUMERALS[number] if number < len(NUMERALS) else f"{number:,}"


def times(number):
    """``times(2)`` is "twice", ``times(3)`` "three times"."""
    return {0: "never", 1: "once", 2: "twice"}.get(number, f"{numeral(number)} times")


def seconds(length):
    """``seconds(1.84)`` is "1.8 s"; below a tenth of a second, milliseconds: ``seconds(0.012)`` is "12 ms"."""
    return f"{length:.1f} s" if length >= 0.0995 or length == 0 else f"{1000 * length:.2g} ms"


def shift(length):
    """``shift(60)`` is "+60 s", ``shift(-2.5)`` is "−2.5 s"."""
    return f"{length:+g} s".replace("-", "\N{MINUS SIGN}")


def listing(items, few=None):
    """``listing(["a", "b", "c"])`` is "a, b and c"; with ``few=2``, "a, b and 1 more"."""
    items = [str(item) for item in items]
    if few and len(items) > few:
        items[few:] = [f"{len(items) - few:,} more"]
    return " and ".join([", ".join(items[:-1])] * (len(items) > 1) + items[-1:])


def mails(numbers):
    """``mails([1])`` is "mail 1", ``mails([1, 2, 3, 4, 7])`` is "mails 1 to 4 and 7"."""
    runs = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    spelled = []
    for first, last in runs:
        spelled += [f"{first} to {last}"] if last - first > 1 else sorted({first, last})
    return f"mail{'s' * (len(numbers) > 1)} {listing(spelled, FEW)}"


def named(names):
    """``named(["lock1", "lock2"])`` is "lock1 and lock2"; three and more in a row are told as "lock1–lock3"."""
    rows = []
    for name in names:
        stem = name.rstrip("0123456789")
        number = int(name[len(stem) :] or 0)
        if rows and (stem, number - 1) == rows[-1][-1][:2]:
            rows[-1].append((stem, number, name))
        else:
            rows.append([(stem, number, name)])
    told = []
    for row in rows:
        each = [name for _, _, name in row]
        told += each if len(each) < 3 else [f"{each[0]}\N{EN DASH}{each[-1]}"]
    return listing(told)


def capital(sentence):
    """The sentence with a capital letter, unless it begins with a lane's name, which has none."""
    named = sentence.startswith(("worker", "contender", "beat", "lock", "replica"))
    return sentence if named else sentence[:1].upper() + sentence[1:]
