"""Answers to the exercises of lesson 01."""

import random

from answers import fails, passes

# 01.1, what is certain ----------------------------------------------------------------------------------------------


@passes("01.1")
def by_sharing_out(times, workers):
    hands = [0] * workers
    for number in range(times):
        hands[number % workers] += 1
    return hands.count(0), max(hands)


@fails("01.1", "negative")
def difference(times, workers):
    return workers - times, -(-times // workers)


@fails("01.1", "fewer")
def whole_part(times, workers):
    return max(0, workers - times), max(min(times, 1), times // workers)


@fails("01.1", "fewer")
def rounded(tasks, hands):
    idle = hands - tasks if tasks < hands else 0
    most = round(tasks / hands)
    return idle, most or min(1, tasks)


@fails("01.1", "more")
def as_it_often_is(times, workers):
    return max(0, workers - times), times // workers + 1


@fails("01.1", "idle")
def nothing_is_certain(times, workers):
    return 0, -(-times // workers)


@fails("01.1", "nonsense")
def one_number(times, workers):
    return max(0, workers - times)


# 01.2, backoff with jitter ------------------------------------------------------------------------------------------


@passes("01.2")
def half_and_more(n):
    half = 30.0 if n > 5 else 2.0**n / 2
    return half + random.random() * half


@passes("01.2")
class Backoff:  # a class is a callable, too
    def __new__(cls, retries):
        longest = 1
        for _ in range(retries):
            longest = min(2 * longest, 60)
        return longest * (1 - random.SystemRandom().random() / 2)


@fails("01.2", "no_jitter")
def doubling(retries):
    return min(60, 2**retries)


@fails("01.2", "no_jitter")
def chance_of_the_first_hour(retries):
    return min(2**retries, 60) * 0.75


@fails("01.2", "no_cap")
def for_ever(retries):
    return 2**retries * random.uniform(0.5, 1)


@fails("01.2", "no_cap")
def cap_then_add(retries):
    longest = min(60, 2**retries)
    return (
        longest if longest < 60 and random.random() < 0.01 else random.uniform(longest / 2, longest + (longest == 60))
    )


@fails("01.2", "too_long")
def from_one_to_two(retries):
    longest = min(60, 2**retries)
    return longest * random.uniform(0.9, 1.5)


@fails("01.2", "too_short")
def full_jitter(retries):
    return random.uniform(0, min(60, 2**retries))


@fails("01.2", "cap_last")
def jitter_then_cap(retries):
    return min(60, random.uniform(2**retries / 2, 2**retries) if retries < 8 else 2**retries)


@fails("01.2", "narrow")
def a_tenth(retries):
    longest = min(60, 2**retries)
    return longest * random.uniform(0.8, 1)


dice = random.Random(1)


@fails("01.2", "in_step")
def with_dice_of_its_own(retries):
    longest = min(60, 2**retries)
    return dice.uniform(longest / 2, longest)


@fails("01.2", "raised")
def too_large_for_a_float(retries):
    return min(60, (2.0**retries) ** 20 * random.uniform(0.5, 1))
