"""The findings in sentences: the title of the picture, and the line of text beneath it that says the same."""

from collections import Counter

from course_tasks.history.circumstances import both_granted, cause, faults, granted, majorities
from course_tasks.history.findings import seen_before
from course_tasks.history.wording import FEW, capital, count, listing, mails, numeral, seconds, times

NOTICEABLE = 1.0
"""Seconds for which nobody could enter, from which on the title says so. Shorter ones are the hand-over's."""


def finding(findings):
    """Return the finding of ``findings`` (:class:`Findings`) as one short sentence without a full stop."""
    if not findings.runs and not findings.skipped and not findings.waited:
        return "Nothing ran"
    outcome = listing([*_again(findings), *_writes(findings)]) if findings.duplicates or findings.stale else ""
    if findings.together.crowds:
        together = f"{capital(numeral(findings.most_inside))} inside together"
        both = both_granted(findings)
        may = f", where {numeral(findings.at_once)} may be" if findings.at_once > 1 else ""
        refused = "".join(f", but {write}" for write in _writes(findings))
        if outcome:
            return f"{together}{may}{both}: {outcome}"
        return f"{together} for {seconds(findings.overlap)}{may}{both}{refused}"
    if outcome:
        return f"{_orderly(findings)}, and yet {outcome}" if findings.has_section else capital(outcome)
    if not findings.has_section:
        return _who_ran_what(findings)
    kept_out = findings.starved >= NOTICEABLE
    if not findings.contended and not (kept_out and findings.absence):
        return f"{'Nothing contended' if findings.runs else 'Nobody got in'}, so nothing was shown"
    if kept_out:
        after = f" after {findings.starvation.after} was killed" if findings.starvation.after else ""
        nobody = f"nobody could enter for {seconds(findings.starved)}{cause(findings) or after}"
        return f"{_orderly(findings)}, but {nobody}" if findings.runs and findings.contended else capital(nobody)
    if findings.contenders:
        return f"{_orderly(findings)}: {_stays(findings)}, fairness {findings.fairness:.2f}"
    found = "found the lock taken" if findings.at_once == 1 else "found no place free"
    return f"{_orderly(findings)}: {count(findings.contended, 'task')} {found}"


def summary(findings):
    """Return one line of text that says the same as the picture: counts, faults, overlap, waiting, mails."""
    return " ".join(f"{capital(said)}." for part in PARTS for said in part(findings))


def _orderly(findings):
    """What a run shows in which nothing overlapped."""
    return "One at a time" if findings.at_once == 1 else f"Never more than {numeral(findings.at_once)} inside"


def _stays(findings):
    """Such as "503 stays by 6 contenders"."""
    return f"{count(findings.runs, 'stay')} by {count(findings.contenders, 'contender')}"


def _who_ran_what(findings):
    """Such as "20 tasks ran on 3 workers: 8, 7 and 5", or "2 tasks ran on 1 worker, in 6 runs: 4 retried"."""
    shares = list(_by_lane(findings).values())
    tasks = len({row.task for row in findings.worked})
    said = f"{count(tasks, 'task')} ran on {count(len(shares), 'worker')}"
    if findings.runs > tasks:
        return f"{said}, in {count(findings.runs, 'run')}: {listing(_trouble(findings))}"
    return f"{said}: {listing(shares)}" if len(shares) > 1 else said


def _by_lane(findings):
    """Lane -> number of runs, for those that had any."""
    numbers = Counter(row.lane for row in findings.worked)
    return {lane: numbers[lane] for lane in findings.lanes if numbers[lane]}


def _trouble(findings):
    """Such as "2 retried" and "1 failed", as far as there were any."""
    numbers = {"retried": findings.retried, "failed": findings.failed}
    return [f"{number:,} {name}" for name, number in numbers.items() if number]


def _again(findings):
    """Such as "mail 1 was sent twice", or "mails 1 and 2 were sent three times", in a list that may be empty."""
    if not findings.duplicates:
        return []
    numbers = set(findings.duplicates.values())
    often = times(*numbers) if len(numbers) == 1 else "more than once"
    return [f"{mails(findings.duplicates)} {'were' if len(findings.duplicates) > 1 else 'was'} sent {often}"]


def _writes(findings):
    """Such as "1 stale write was refused", in a list that may be empty."""
    numbers = {"accepted": findings.stale, "refused": findings.refused}
    return [
        f"{count(number, 'stale write')} {'was' if number == 1 else 'were'} {what}"
        for what, number in numbers.items()
        if number
    ]


def _counts(findings):
    """Such as "4 ticks, 4 runs, 1 skipped"; without tasks, "503 stays by 6 contenders"."""
    if findings.contenders:
        return [", ".join([_stays(findings), *[f"{findings.skipped:,} skipped"] * (findings.skipped > 0)])]
    others = findings.sent - findings.ticks
    counts = [count(findings.ticks, "tick")] if findings.ticks or not others else []
    counts += [f"{count(others, 'task')} sent"] if others else []
    counts += [count(findings.runs, "run")]
    counts += [f"{findings.skipped:,} skipped"] if findings.skipped else []
    return [", ".join(counts + _trouble(findings))]


def _shares(findings):
    """Who ran how many, where the tasks have no critical section: "worker1 ran 8, worker2 7 and worker3 5".

    Without tasks, who was inside how often.
    """
    if findings.contenders:
        shares = [f"{findings.shares.get(lane, 0):,}" for lane in findings.contending]
        return [f"they got {listing(shares)}: fairness {findings.fairness:.2f}"]
    by_lane = {} if findings.has_section else _by_lane(findings)
    verbs = [" ran", *[""] * len(by_lane)]
    parts = [f"{lane}{verb} {number:,}" for verb, (lane, number) in zip(verbs, by_lane.items(), strict=False)]
    return [listing(parts)] if parts else []


def _errors(findings):
    """Which errors tasks failed with at their first run."""
    errors = Counter(filter(None, map(findings.error, findings.happened["failed"])))
    return [f"{count(number, _noun(findings))} failed with {name}" for name, number in errors.items()]


def _leases(findings):
    """How often a lease was renewed, and who lost the lock."""
    parts = [f"leases were renewed {times(findings.renewed)}"] if findings.renewed else []
    lost = [f"{event.lane} found its lock lost at {event.t:.1f} s" for event in findings.happened["lost"]]
    return parts + (lost if len(lost) <= FEW else [f"{count(len(lost), _noun(findings))} found their lock lost"])


def _noun(findings):
    """What one try to get in is called."""
    return "attempt" if findings.contenders else "task"


def _together(findings):
    """Who was inside together, for how long."""
    if not findings.together.crowds:
        return []
    lanes = {stay.lane for stay, _, _ in findings.together.pieces}
    who = [lane for lane in findings.lanes if lane in lanes]
    often = " in all" if len(findings.together.stretches) > 1 else ""
    length = f"for {seconds(findings.overlap)}{often}"
    if len(who) == 1:
        return [f"{numeral(findings.most_inside)} tasks of {who[0]} were inside together {length}"]
    crew = "contenders" if findings.contenders else "workers"
    said = f"{listing(who) if len(who) < FEW else f'{numeral(len(who))} {crew}'} were inside together {length}"
    return [said if findings.most_inside == 2 else f"{said}, up to {numeral(findings.most_inside)} at once"]


def _wanting(findings):
    """Who waited how long, and how long nobody could enter."""
    parts = []
    if findings.waited:
        most = "" if findings.waited == 1 else "up to "
        parts += [f"{count(findings.waited, _noun(findings))} waited for {most}{seconds(findings.longest_wait)}"]
    if findings.starved >= NOTICEABLE:
        begin = findings.starvation.begin
        until = begin + findings.starved
        parts += [f"nobody could enter from {begin:.1f} s to {until:.1f} s{cause(findings)}"]
    return parts


def _open(findings):
    """Who was still at it when the run ended."""
    lanes = {row.lane for row in findings.worked if row.closed_by == "run ended"}
    where = "inside" if findings.has_section else "running"
    still = [lane for lane in findings.lanes if lane in lanes]
    return [f"{listing(still, FEW)} {'was' if len(still) == 1 else 'were'} still {where} at the end"] if still else []


def _fencing(findings):
    """Whose stale writes the database accepted, and whose it refused."""
    parts = []
    for verb, writes in (("accepted", findings.stale_writes), ("refused", findings.happened["refused"])):
        said = [
            f"the database {verb} the write of {write.lane} with token {write.token}, "
            f"{'although' if verb == 'accepted' else 'as'} it had seen {seen_before(write)}"
            for write in writes
        ]
        parts += said if len(said) <= FEW else [f"the database {verb} {count(len(said), 'stale write')}"]
    return parts


def _dropped(findings):
    """Which mails the inbox dropped."""
    numbers = {event.mail for event in findings.happened["dropped"]}
    return [f"{mails(numbers)} came again and {'were' if len(numbers) > 1 else 'was'} dropped"] if numbers else []


def _mails(findings):
    """Which mails were delivered how often: "mail 1 was delivered twice, mails 2 and 3 once"."""
    by_number = {}
    for mail, events in findings.deliveries.items():
        by_number.setdefault(len(events), []).append(mail)
    if findings.unsent:
        by_number[0] = findings.unsent
    parts = []
    for number in sorted(by_number, reverse=True):
        verb = "" if parts else " were" if len(by_number[number]) > 1 else " was"
        often = times(number) if parts else f"delivered {times(number)}" if number else "never delivered"
        parts.append(f"{mails(by_number[number])}{verb} {often}")
    return [", ".join(parts)] if parts else []


PARTS = (
    _counts,
    _shares,
    _errors,
    faults,
    majorities,
    _leases,
    _together,
    granted,
    _wanting,
    _open,
    _fencing,
    _mails,
    _dropped,
)
"""What the line of text says, in turn: each makes sentences of the Findings, a list that may be empty."""
