"""The circumstances in sentences: the faults, who had granted what to those inside together, and why nobody could enter."""

import math
from collections import defaultdict

from course_tasks.history.wording import FEW, listing, named, shift

FORGOT = {
    "died": ", which {was} restarted in between and remembered nothing",
    "clock moved": ", whose clock{s} {was} moved in between",
}
"""Why servers could grant to another what they had granted already, where it is their own fault. See ``grants.Grant``."""

BRIEF = 0.5
"""Seconds. A server that was dead for longer is said to have been."""


def faults(findings):
    """What befell whom and when, in the order in which it began."""
    told = [
        (
            row.begin,
            f"{row.lane} was paused{findings.place(row.begin_order)} from {row.begin:.1f} s to {row.until:.1f} s",
        )
        for row in findings.lasted["paused"]
    ]
    told += [
        (event.t, f"{event.lane} was killed{findings.place(event.Index)} at {event.t:.1f} s")
        for event in findings.kills
        if event.lane not in findings.servers.names
    ]
    alike = defaultdict(list)  # what befell them -> who, and when
    for spell in findings.faults:
        if sentence := _befell(spell, findings.servers.names):
            alike[sentence].append(spell)
    for sentence, those in alike.items():
        told.append((those[0].begin, sentence.format(who=named(spell.lane for spell in those), **_number(those))))
    told = [sentence for _, sentence in sorted(told, key=lambda item: item[0])]
    return told if len(told) <= FEW else [*told[:FEW], f"there were {len(told) - FEW} more faults"]


def _befell(spell, servers):
    """A fault of a lock server, or of a link to one, as a sentence about {who}; None for others."""
    begin, end = f"{spell.begin:.1f} s", f"{spell.end:.1f} s"
    while_it_lasted = f"from {begin} on" if spell.end == math.inf else f"from {begin} to {end}"
    if spell.fault == "cut":
        return f"{{who}} {{was}} cut off from {_all_or(spell.servers, servers)} {while_it_lasted}"
    if spell.fault == "slow":
        later = f"{spell.detail['milliseconds']:g} ms slower each way"
        return f"{{who}} {{was}} {later} to {_all_or(spell.servers, servers)} {while_it_lasted}"
    if spell.fault == "promote":
        return f"{{who}} {{was}} promoted at {begin}"
    if spell.fault == "clock":
        return f"the clock{{s}} of {{who}} {{was}} moved by {shift(spell.detail['seconds'])} at {begin}"
    if spell.fault == "restart" and spell.end < math.inf:
        dead = f", dead since {begin}," if spell.end - spell.begin >= BRIEF else ""
        how = " from disk" if spell.detail.get("memory") else ""
        return f"{{who}}{dead} {{was}} restarted{how} at {end}{'' if how else ' and remembered nothing'}"
    if spell.lane in servers and spell.fault in ("kill", "restart"):
        return f"{{who}} {{was}} killed at {begin}"
    return None


def _all_or(some, everyone):
    """Those servers by name, or that they are all there are."""
    return "every lock server" if len(some) > 2 and set(some) >= set(everyone) else named(some)


def majorities(findings):
    """By how many lock servers each hold was granted, where there are several and it is known.

    That is at least so many: a lock need not wait for the answers that it can do without.
    """
    sizes = {len(grants) for grants in findings.grants.of.values()}
    number = len(findings.servers.asked(0.0))
    if not sizes or number == 1:
        return []
    least = min(sizes)
    said = f"all {number}" if least == number else f"at least {least} of {number}"
    return [f"each hold was granted by {said} lock servers"]


def granted(findings):
    """By whom those were granted the lock who were inside together, though no lease had ended and nobody had released."""
    together = {stay.lane for stay, _, _ in findings.together.pieces}
    return list(dict.fromkeys(_granted(findings, double, together) for double in findings.doubles))[:FEW]


def _granted(findings, double, together):
    first, second = double.first.lane, double.second.lane
    if not double.why:
        mine, theirs = (named(findings.grants.of[hold.begin_order]) for hold in (double.first, double.second))
        return f"{first} had been granted the lock by {mine}, {second} by {theirs}"
    who = "both had" if together == {first, second} else f"{first} and {second} had both"
    reason, *others = set(double.why.values())
    forgot = "" if others else FORGOT.get(reason, "").format(**_number(double.why))
    return f"{who} been granted the lock by {named(double.why)}{forgot}"


def both_granted(findings):
    """Such as ", both granted by lock3", where that holds for all who were inside together; else ""."""
    by = {tuple(double.why) for double in findings.doubles}
    if findings.most_inside != 2 or len(by) != 1 or len(findings.doubles) < len(findings.together.crowds) or () in by:
        return ""
    return f", both granted by {named(*by)}"


def cause(findings):
    """Such as " while 3 of 5 lock servers were dead": in what circumstances nobody could enter; "" where nothing is known."""
    absence = findings.absence
    if absence is None:
        return ""
    how = "did not answer"
    if absence.number == 1:
        return f" while {listing(absence.names)} {'was dead' if absence.dead else how}"
    return f" while {absence.least} of {absence.number} lock servers {'were dead' if absence.dead else how}"


def _number(those):
    """What makes a sentence about them one of one or of many."""
    return {"was": "was", "s": ""} if len(those) == 1 else {"was": "were", "s": "s"}
