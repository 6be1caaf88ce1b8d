"""Answers to the exercise of lesson 00."""

from answers import fails, passes


@passes("00.1")
def rounds(times, takes, workers):
    lengths = [0] * workers
    for number in range(times):
        lengths[number % workers] += takes
    return max(lengths)


@passes("00.1")
def with_ceil_by_hand(n, t, w):
    return -(-n // w) * t


@fails("00.1", "parted")
def shared_out(times, takes, workers):
    return times * takes / workers


@fails("00.1", "rounded_down")
def whole_rounds(times, takes, workers):
    return times // workers * takes


@fails("00.1", "rounded_down")
def whole_rounds_in_other_words(a, b, c):
    rounds, _ = divmod(a, c)
    return sum(b for _ in range(rounds))


@fails("00.1", "one_by_one")
def as_if_alone(times, takes, workers):
    return times * takes


@fails("00.1", "all_at_once")
def as_if_enough(times, takes, workers):
    return takes


@fails("00.1", "other")
def one_too_many(times, takes, workers):
    return (times // workers + 1) * takes


@fails("00.1", "nonsense")
def forgets_to_return(times, takes, workers):
    (times // workers + 1) * takes


@fails("00.1", "raised")
def misspelt(times, takes, workers):
    return times * takes / worker  # noqa: F821


@fails("00.1", "unfinished")
def begun(times, takes, workers):
    if times > workers:
        return (times + workers - 1) // workers * takes
    raise NotImplementedError
