"""Exercises that check themselves: ``@exercise("04.1")`` above an answer, ``hint``, ``solution`` and ``progress``.

======================= ============================================================================================
module                  what it is about
======================= ============================================================================================
``learner``             the four names that a learner types
``definition``          what an exercise is, what a check finds, and where exercises are found
``lesson00`` …          the exercises of one lesson, with reference answers as real code
``bench``               what a check works with: calls, a Redis, a lab, all of them private and limited in time
``locking``             what every lock must do before anything goes wrong
``leases``              what a lock with a lease must do wherever that lease ends
``renewals``            what a renewal must do wherever the lease ends that it renews
``killing``             what a lock with a lease must do wherever its holder is killed
``quorums``             what taking a lock on several servers must do, whatever befalls some of them
``troubles``            one call over several servers, some of which are in trouble, and what came of it
``comparing``           values compared with those that are right
``mishaps``             what can go wrong in any answer
``stubs``               whether a lock has been written at all
``calling``             one call of the learner's code, in a process of its own
``halting``             one step of the learner's code after the other, and somebody else in between
``traces``              what an error in the learner's code says
``judging``             the kernel's side: processes for the check, a limit, and the end of them all
``examiner``            the process in which a check runs
``wording``             how sentences call functions, calls and values
``card``                how the outcome looks
``record``              what was passed, kept in one's own data directory
======================= ============================================================================================
"""

from course_tasks.lazily import exports

_HOMES = {
    "exercise": "learner",
    "hint": "learner",
    "solution": "learner",
    "progress": "learner",
}

__all__ = list(_HOMES)
__getattr__ = exports(__name__, _HOMES)
