"""The verdict on a run: valid, invalid (with witnesses), or unknown, where nothing was put to the test.

No evidence is not a pass: as long as no task found another one inside or the lock taken, a run shows nothing about
mutual exclusion.
"""

from dataclasses import dataclass, field, fields

from course_tasks.history.findings import Findings
from course_tasks.history.story import finding, summary
from course_tasks.history.witnesses import witnesses


@dataclass(frozen=True)
class Verdict:
    """What a run showed. See :func:`judge`.

    ================ ===================================================================================================
    field            meaning
    ================ ===================================================================================================
    ``outcome``      "valid", "invalid" or "unknown"
    ``sentence``     the finding, the title of the picture
    ``summary``      one line of text that says the same as the picture
    ``witnesses``    ``Witness`` objects, in the order in which the violations were complete
    ``overlap``      seconds during which two or more were inside, or more than may be
    ``most_inside``  how many were inside at once at most
    ``contended``    how many tasks found another one inside, or the lock taken
    ``duplicates``   mail number -> number of deliveries, for the mails delivered more than once
    ``unsent``       the numbers of the run's mails that were never delivered
    ``longest_wait`` seconds that a task waited for the lock at most
    ``fairness``     Jain's index of how often each lane that tried to get in did: 1.0 is even, 1/n is all for one of n;
                     1.0 where nobody tried
    ``starved``      seconds during which somebody wanted to enter and nobody was inside, at most
    ``ticks``        tasks published by beat
    ``sent``         tasks published by anybody
    ``runs``         stays inside the critical section; where there is none, runs of tasks
    ``contenders``   processes that contended for the lock by themselves, without tasks
    ``skipped``      tasks that found the lock taken and went away
    ``waited``       tasks that waited for the lock
    ``retried``      runs that failed and were to be repeated
    ``failed``       runs that failed for good
    ``renewed``      renewals of a lease
    ``lost``         tasks whose lock was no longer their own when they looked
    ``refused``      writes that the database refused for their fencing token
    ``stale``        writes that it accepted, although it had accepted one with a higher token before
    ``delivered``    mails that reached the inbox, duplicates included
    ``dropped``      mails that the inbox dropped, as it had them already
    ================ ===================================================================================================
    """

    outcome: str
    sentence: str
    summary: str
    witnesses: tuple = ()
    overlap: float = 0.0
    most_inside: int = 0
    contended: int = 0
    duplicates: dict = field(default_factory=dict)
    unsent: tuple = ()
    longest_wait: float = 0.0
    fairness: float = 1.0
    starved: float = 0.0
    ticks: int = 0
    sent: int = 0
    runs: int = 0
    contenders: int = 0
    skipped: int = 0
    waited: int = 0
    retried: int = 0
    failed: int = 0
    renewed: int = 0
    lost: int = 0
    refused: int = 0
    stale: int = 0
    delivered: int = 0
    dropped: int = 0

    def __str__(self):
        return f"{self.outcome}: {self.sentence}"


def judge(events, intervals):
    """Return the :class:`Verdict` on the run with these ``events`` (from ``frame``) and ``intervals`` (from theirs).

    Invalid if two were inside the critical section together, by the stream's order, or a mail was delivered twice, or the
    database accepted a write that was stale by its token; unknown if nobody was ever inside, or no attempt ever
    found another one inside or the lock taken; else valid. Mail that was never sent is said, and doesn't make a run
    invalid. Where the run allows several inside together (``at_once``), it takes one more than that in each case.
    """
    found = Findings(events, intervals)
    if found.together.crowds or found.duplicates or found.stale:
        outcome = "invalid"
    else:
        outcome = "valid" if found.contended and found.runs else "unknown"
    said = {
        "outcome": outcome,
        "sentence": finding(found),
        "summary": summary(found),
        "witnesses": witnesses(found),
    }
    numbers = {fact.name: getattr(found, fact.name) for fact in fields(Verdict) if fact.name not in said}
    return Verdict(**said, **numbers)
