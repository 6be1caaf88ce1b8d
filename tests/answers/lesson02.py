"""Answers to the exercises of lesson 02."""

import heapq
import math

from answers import fails, passes

# 02.1, the queue, foretold ------------------------------------------------------------------------------------------


@passes("02.1")
def second_by_second(every, takes, workers, seconds):
    """Quarter by quarter of a second; the ticks fall on halves."""
    queue, busy = 0, []
    for quarter in range(int(seconds * 4) + 1):
        now = quarter / 4
        busy = [until for until in busy if until > now]
        queue += now % every == 0
        while queue and len(busy) < workers:
            queue -= 1
            busy.append(now + takes)
    return queue


@passes("02.1")
def with_a_heap(e, t, w, s):
    free, begun = [0] * w, 0
    sent = math.floor(s / e) + 1
    for number in range(sent):
        start = max(number * e, heapq.heappop(free))
        heapq.heappush(free, start + t)
        begun += start <= s
    return sent - begun


@fails("02.1", "negative")
def rates(every, takes, workers, seconds):
    return math.floor(seconds / every) + 1 - math.ceil(seconds * workers / takes)


@fails("02.1", "parted")
def mean_growth(every, takes, workers, seconds):
    return max(0, seconds / every - seconds * workers / takes)


@fails("02.1", "first_tick")
def the_first_comes_later(every, takes, workers, seconds):
    return max(0, with_a_heap(every, takes, workers, seconds) - 1)


@fails("02.1", "begun")
def not_done_yet(every, takes, workers, seconds):
    free, done = [0] * workers, 0
    for number in range(int(seconds // every) + 1):
        end = max(number * every, min(free)) + takes
        free[free.index(min(free))] = end
        done += end <= seconds
    return int(seconds // every) + 1 - done


@fails("02.1", "other")
def all_that_were_sent(every, takes, workers, seconds):
    return int(seconds // every) + 1


@fails("02.1", "endless")
def never_ticks(every, takes, workers, seconds):
    now = 0
    while now < seconds:
        now += int(every < 1)
    return now


# 02.2, two intervals ------------------------------------------------------------------------------------------------


@passes("02.2")
def a_pair(takes, workers):
    return takes / (workers + 1), 2 * takes


@fails("02.2", "keeps_up")
def the_border_itself(takes, workers):
    return takes / workers, 2 * takes


@fails("02.2", "keeps_up")
def one_worker_in_mind(a, b):
    return [0.9 * a, 1.1 * a]


@fails("02.2", "meet")
def keeping_up_will_do(takes, workers):
    return 0.5 * takes / workers, 1.1 * takes / workers


@fails("02.2", "meet")
def to_the_dot(takes, workers):
    half = takes / (2 * workers)
    return half, takes


@fails("02.2", "nothing")
def all_at_once(takes, workers):
    return 0, 2 * takes


@fails("02.2", "nonsense")
def in_words(takes, workers):
    return "short", "long"
