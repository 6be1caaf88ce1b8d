"""Flag: wakes whoever waits, and no interrupt breaks it."""

import threading
import time

import interrupts
import pytest
from labs import LONG, wait_for

from course_tasks.locks.flag import Flag


def test_it_wakes_all_who_wait():
    flag, woken = Flag(), []
    threads = [threading.Thread(target=lambda: woken.append(flag.wait(LONG))) for _ in range(5)]
    for thread in threads:
        thread.start()
    flag.set()
    for thread in threads:
        thread.join(LONG)
    assert woken == [True] * 5
    flag.set()
    assert flag.up and flag.wait(0)


@pytest.mark.parametrize("seconds", [-1, 0, 0.05])
def test_it_waits_no_longer_than_it_is_told(seconds):
    flag, start = Flag(), time.monotonic()
    assert flag.wait(seconds) is False and not flag.up
    assert seconds <= time.monotonic() - start < LONG / 2


def test_it_can_wait_for_ever():
    flag, woken = Flag(), []
    thread = threading.Thread(target=lambda: woken.append(flag.wait(float("inf"))))
    thread.start()
    wait_for(thread.is_alive)
    flag.set()
    thread.join(LONG)
    assert woken == [True]


def breaks(make, uses, part):
    """Whether an interrupt at some place of ``uses(event)``, in the file ``part``, leaves an event that can't be set any more."""
    for number in range(1, interrupts.count(lambda: uses(make()), [part]) + 1):
        event = make()
        interrupts.at_place(number, lambda event=event: uses(event), [part])
        thread = threading.Thread(target=event.set, daemon=True)
        thread.start()
        thread.join(0.5)
        if thread.is_alive() or not event.wait(0):
            return True
    return False


def use(event):
    event.wait(0)
    event.set()
    event.wait(0)


def test_an_interrupt_at_any_moment_leaves_it_usable():
    assert not breaks(Flag, use, "/locks/flag.py")


def test_an_event_of_the_standard_library_is_left_useless():
    """The negative control, and the reason for Flag: where this fails, it may go."""
    assert breaks(threading.Event, use, "threading.py")
