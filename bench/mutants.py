"""Redlock with one thing wrong, each as somebody has written it. The schedules of bench/quorum.py must tell them from Redlock."""

import time
from unittest import mock

from bench.claimant import CountedRedlock
from course_tasks.locks import redlock
from course_tasks.locks.hold import DRIFT
from course_tasks.locks.panel import Panel


class Half(CountedRedlock):
    """Half of the servers are enough, rounded down: two of five. Two pairs of servers need not have one in common."""

    class Panel(Panel):
        def __init__(self, stocks, limit, undo=None):
            super().__init__(stocks, limit, undo)
            self.quorum = len(stocks) // 2

    def _ask(self, hold):
        with mock.patch.object(redlock, "Panel", self.Panel):
            return super()._ask(hold)


class NoDrift(CountedRedlock):
    """It is valid for the whole lease. By a clock that is slower than the servers', it still is when theirs have ended."""

    def _ask(self, hold):
        answer = super()._ask(hold)
        hold.spare = -DRIFT * self.timeout
        return answer


class FromAfter(CountedRedlock):
    """It is valid from when the votes are in. What passed until then, the servers' leases have already lost."""

    def _ask(self, hold):
        asked = time.monotonic()
        answer = super()._ask(hold)
        hold.spare -= time.monotonic() - asked
        return answer
