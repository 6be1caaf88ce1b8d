"""Answers to the exercises of lesson 13."""

from answers import fails, given, passes
from course_tasks.exercises.lesson13 import evidence_of

# 13.1, which assumption failed? ------------------------------------------------------------------------------------------


@given("13.1")
def some_runs():
    stories = ("0.1 123 3.2, 1.8 124 2.2, 0.2 worker1 pause 3", "0.1 345 1.6, 0.7 123 2.2, 0.2 lock3 restart")
    late, forgot = map(evidence_of, stories)
    late[0]["lease"] = 1.1
    return ([late, forgot],)


@passes("13.1")
def when_did_each_server_forget(a, b, happened):
    """The other way round: of each server that said yes to both, what made it forget the first."""
    over = a["at"] + a["lease"]
    if b["at"] >= min(over, a["left"]):
        return "late" if b["at"] < a["left"] else None
    forgot = {}
    for one in sorted(happened, key=lambda one: one["at"]):
        if one["where"] in a["granted"] and a["at"] < one["at"] < b["at"]:
            if one["fault"] == "restart":
                forgot.setdefault(one["where"], "memory")
            elif one["fault"] == "clock" and over - one["seconds"] < b["at"]:
                forgot.setdefault(one["where"], "clock")
    return next((forgot[server] for server in b["granted"] if server in forgot), None)


class Case:
    def __init__(self, first, second):
        self.first, self.second = first, second
        self.shared = set(first["granted"]).intersection(second["granted"])

    @property
    def left(self):
        """What was left of the first lease when the second was granted it."""
        return self.first["at"] + self.first["lease"] - self.second["at"]

    def harmed(self, fault):
        return fault["where"] in self.shared and self.first["at"] <= fault["at"] <= self.second["at"]


@passes("13.1")
def in_a_class(first, second, faults):
    case = Case(first, second)
    if first["left"] < second["at"]:
        return
    if case.left < 0:
        return "late"
    harm = {fault["fault"]: fault for fault in filter(case.harmed, faults)}
    if harm.get("clock", {"seconds": 0})["seconds"] > case.left:
        return "clock"
    return "memory" if "restart" in harm else None


def find(
    first,
    second,
    faults,
    *,
    together=True,
    lease="first",
    late=lambda first, second, faults: second["at"] > first["at"] + first["lease"],
    shared=lambda first, second: set(first["granted"]) & set(second["granted"]),
    between=lambda first, fault, second: first["at"] < fault["at"] < second["at"],
    far=lambda first, fault, second: first["at"] + first["lease"] - fault["seconds"] <= second["at"],
    names=("memory", "clock"),
):
    """The right one, and what can be wrong with it."""
    if together and second["at"] > first["left"]:
        return None
    if lease == "first" and late(first, second, faults):
        return "late"
    for fault in faults:
        if fault["where"] in shared(first, second) and between(first, fault, second):
            if fault["fault"] == "restart":
                return names[0]
            if fault["fault"] == "clock" and far(first, fault, second):
                return names[1]
    if lease == "last" and late(first, second, faults):
        return "late"
    return None


@fails("13.1", "memory")
def always_late(first, second, faults):
    return "late"


@fails("13.1", "memory")
def only_by_the_lease(first, second, faults):
    return "late" if first["at"] + first["lease"] < second["at"] < first["left"] else None


@fails("13.1", "clock")
def always_memory(first, second, faults):
    return "memory"


@fails("13.1", "clock")
def any_fault_of_a_shared_server(first, second, faults):
    return find(first, second, faults, names=("memory", "memory"))


def kinds(faults):
    return [fault["fault"] for fault in faults]


@fails("13.1", "late")
def by_what_happened(first, second, faults):
    """A table of causes, and whatever is in the list is one."""
    causes = {"restart": "memory", "clock": "clock", "pause": "late"}
    return next((causes[kind] for kind in kinds(faults) if kind in causes), None)


@fails("13.1", "late")
def late_is_who_was_paused(first, second, faults):
    return find(first, second, faults, late=lambda first, second, faults: "pause" in kinds(faults))


@fails("13.1", "late")
def late_is_who_stays_longer_than_his_own_lease_and_a_bit(one, other, list_of_faults):
    return find(one, other, list_of_faults, late=lambda one, other, _: one["left"] > one["at"] + 2 * one["lease"])


@fails("13.1", "ends")
def a_lease_is_no_moment(first, second, faults):
    return find(first, second, faults, late=lambda first, second, faults: second["at"] > first["lease"])


@fails("13.1", "early")
def late_is_who_stays_longer_than_his_lease(first, second, faults):
    return find(first, second, faults, late=lambda first, *_: first["left"] > first["at"] + first["lease"])


@fails("13.1", "together")
def without_looking_who_has_left(first, second, faults):
    return find(first, second, faults, together=False)


@fails("13.1", "harmless")
def a_pause_is_always_to_blame(first, second, faults):
    def late(first, second, faults):
        return "pause" in kinds(faults) or second["at"] > first["at"] + first["lease"]

    return find(first, second, faults, late=late)


@fails("13.1", "both")
def any_server(first, second, faults):
    return find(first, second, faults, shared=lambda first, second: [f"lock{number}" for number in range(1, 6)])


@fails("13.1", "both")
def whoever_granted_the_first(first, second, faults):
    return find(first, second, faults, shared=lambda first, second: first["granted"])


@fails("13.1", "both")
def lock3_as_in_the_lesson(first, second, faults):
    return find(first, second, faults, shared=lambda first, second: ["lock3"])


@fails("13.1", "both")
def the_last_fault(first, second, faults):
    """Whichever server it befell, whenever it was."""
    if second["at"] >= first["left"]:
        return None
    if second["at"] >= first["at"] + first["lease"]:
        return "late"
    return {"restart": "memory", "clock": "clock"}[faults[-1]["fault"]]


@fails("13.1", "both")
def the_last_one_of_the_first(first, second, faults):
    return find(first, second, faults[::-1], shared=lambda first, second: first["granted"])


@fails("13.1", "both")
def the_last_one_of_the_second(first, second, faults):
    return find(first, second, faults[::-1], shared=lambda first, second: second["granted"])


@fails("13.1", "between")
def the_last_one_whenever_it_was(first, second, faults):
    return find(first, second, faults[::-1], between=lambda first, fault, second: True)


@fails("13.1", "between")
def restarts_first(first, second, faults):
    faults = sorted(faults, key=lambda fault: fault["fault"] != "restart")
    return find(first, second, faults, between=lambda first, fault, second: fault["at"] > first["at"])


@fails("13.1", "between")
def clocks_first(first, second, faults):
    faults = sorted(faults, key=lambda fault: fault["fault"] != "clock")
    return find(first, second, faults, between=lambda first, fault, second: fault["at"] < second["at"])


@fails("13.1", "between")
def whenever_it_was(first, second, faults):
    return find(first, second, faults, between=lambda first, fault, second: True)


@fails("13.1", "between")
def before_the_second(first, second, faults):
    return find(first, second, faults, between=lambda first, fault, second: fault["at"] < second["at"])


@fails("13.1", "between")
def after_the_first(first, second, faults):
    return find(first, second, faults, between=lambda first, fault, second: fault["at"] > first["at"])


@fails("13.1", "far")
def any_clock(first, second, faults):
    return find(first, second, faults, far=lambda first, fault, second: True)


@fails("13.1", "far")
def any_clock_and_the_last_one(first, second, faults):
    return find(first, second, faults[::-1], far=lambda first, fault, second: True)


@fails("13.1", "far")
def forward(first, second, faults):
    return find(first, second, faults, far=lambda first, fault, second: fault["seconds"] > 0)


@fails("13.1", "far")
def by_a_whole_lease(first, second, faults):
    return find(first, second, faults, far=lambda first, fault, second: fault["seconds"] >= first["lease"])


@fails("13.1", "first")
def the_faults_first(first, second, faults):
    return find(first, second, faults, lease="last")


@fails("13.1", "raised")
def each_has_seconds(first, second, faults):
    moved = any(fault["seconds"] for fault in faults)
    return find(first, second, faults) if moved else None


@fails("13.1", "nonsense")
def in_a_sentence(first, second, faults):
    return "lock3 was restarted"


@fails("13.1", "nonsense")
def pause_by_its_name(first, second, faults):
    found = find(first, second, faults)
    return "pause" if found == "late" else found
