"""Answers to the exercises of lesson 03."""

from itertools import pairwise

from answers import fails, given, passes
from course_tasks.exercises.lesson03 import history_of
from course_tasks.lab.run import Run

# 03.1, who had the same mail in hand? -------------------------------------------------------------------------------


@given("03.1")
def a_run():
    return (Run(1, history_of("2 reads 1, 3 reads 1, 1 reads 1, 2 delivers 1, 3 delivers 1, 1 delivers 1"), None),)


@passes("03.1")
def by_hand(events):
    had, found = {}, set()
    for row in events.itertuples():
        if row.kind == "read":
            for lane in had.setdefault(row.mail, []):
                found.add((row.mail, lane, row.lane))
            had[row.mail].append(row.lane)
    return found


@passes("03.1")
def merged(table):
    reads = table.query("kind == 'read'").reset_index()
    pairs = reads.merge(reads, on="mail")
    pairs = pairs[pairs["index_x"] < pairs["index_y"]]
    return pairs[["mail", "lane_x", "lane_y"]].values.tolist()


@fails("03.1", "three")
def neighbours_only(events):
    found = []
    for mail, reads in events[events["kind"] == "read"].groupby("mail"):
        lanes = list(reads["lane"])
        found += [(mail, one, other) for one, other in pairwise(lanes)]
    return found


@fails("03.1", "three")
def with_the_first_one(e):
    first, found = {}, []
    for mail, lane in e.loc[e["kind"] == "read", ["mail", "lane"]].itertuples(index=False):
        if mail in first:
            found.append((mail, first[mail], lane))
        first.setdefault(mail, lane)
    return found


@fails("03.1", "undelivered")
def from_the_inbox(events):
    senders, found = {}, []
    for row in events[events["kind"] == "delivered"].itertuples():
        for lane in senders.setdefault(row.mail, []):
            found.append((row.mail, lane, row.detail["sender"]))
        senders[row.mail].append(row.detail["sender"])
    return found


@fails("03.1", "mixed")
def one_right_after_the_other(events):
    rows = list(events[events["kind"] == "read"].itertuples())
    return [(one.mail, one.lane, two.lane) for one, two in pairwise(rows) if one.mail == two.mail]


@fails("03.1", "alone")
def whoever_reads_later(events):
    reads = events[events["kind"] == "read"]
    rows = list(reads.itertuples())
    return [
        (two.mail, one.lane, two.lane) for n, one in enumerate(rows) for two in rows[n + 1 :] if one.lane != two.lane
    ]


@fails("03.1", "lane")
def two_workers_only(events):
    return [pair for pair in by_hand(events) if pair[1] != pair[2]]


@fails("03.1", "order")
def by_name(events):
    return [(mail, *sorted((one, other))) for mail, one, other in by_hand(events) if one != other or mail]


@fails("03.1", "by_time")
def sorted_by_time(events):
    return by_hand(events.sort_values("t"))


@fails("03.1", "alone")
def readers(events):
    return [pair for pair in by_hand(events)] + [
        (mail, reads["lane"].iloc[0], reads["lane"].iloc[0])
        for mail, reads in events[events["kind"] == "read"].groupby("mail")
        if len(reads) == 1
    ]


@fails("03.1", "pairs")
def nobody(events):
    return []


@fails("03.1", "nonsense")
def a_table(events):
    return events[events["kind"] == "read"]


# 03.2, how often can one mail go out? -------------------------------------------------------------------------------


@passes("03.2")
def counted(every, takes, workers):
    ticks = [tick * every for tick in range(1000) if tick * every < takes]
    return len(ticks[:workers])


@fails("03.2", "fewer")
def whole_intervals(every, takes, workers):
    return max(1, min(workers, int(takes / every)))


@fails("03.2", "busy")
def as_many_as_ticks(a, b, c):
    return -int(-b // a)


@fails("03.2", "more")
def whoever_is_there(every, takes, workers):
    return workers


@fails("03.2", "nonsense")
def said_in_words(every, takes, workers):
    return "three times"
