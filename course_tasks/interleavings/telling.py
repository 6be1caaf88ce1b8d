"""A counterexample told: what each of its steps changed, found by taking them once more."""

from dataclasses import dataclass

from course_tasks.interleavings.model import State
from course_tasks.interleavings.trace import CRASH, SERVER, Step


@dataclass(frozen=True)
class Told:
    """A ``step``, the ``state`` after it, and what it changed.

    ``begins``, ``enters``, ``leaves``, ``ends``: whether it is its client's first step, and whether the client enters the
    critical section with it, leaves it, is done; ``in_vain``: whether it is done and has never been inside. ``got``: the
    keys that the client has set and that were not its own. ``lost``: key -> the client that had set it, itself perhaps,
    and has it no more. ``inside`` and ``underway``: who is inside afterwards, and who is neither done nor has crashed.
    """

    step: Step
    state: State
    begins: bool
    enters: bool
    leaves: bool
    ends: bool
    in_vain: bool
    got: tuple
    lost: dict
    inside: list
    underway: list

    @property
    def notes(self):
        """What the step means, in a few words each."""
        if self.step.who == SERVER:
            return [f"{owner} is still inside" for owner in self.lost.values() if owner in self.inside]
        verb = "replaces" if self.got else "removes"
        others = [f"{verb} the lock of {owner}" for owner in self.lost.values() if owner != self.step.who]
        alone = ["is inside"] * self.enters + ["goes away"] * self.in_vain
        return ["has left"] * self.leaves + others + alone


def tell(model, trace):
    """Return a :class:`Told` for each step of ``trace``, which a search of ``model`` has found."""
    story, state, entered = [], model.start, set()
    for step in trace:
        before, position = state, model.positions(state).get(step.who)
        _, state = model.after(before, step.who, step.command)
        had, has = ({name: key.owner for name, key in one.store.keys if key.owner} for one in (before, state))
        inside, underway = model.inside(state), list(model.positions(state))
        entered.update(inside)
        acts = position is not None and not isinstance(step.command, CRASH)
        ends = acts and step.who not in underway
        story.append(
            Told(
                step=step,
                state=state,
                begins=acts and not model.begun(before, step.who),
                enters=acts and step.who in inside and (position.leaves or not position.inside),
                leaves=acts and position.leaves,
                ends=ends,
                in_vain=ends and step.who not in entered,
                got=tuple(name for name, owner in has.items() if owner == step.who and had.get(name) != owner),
                lost={name: owner for name, owner in had.items() if has.get(name) != owner},
                inside=inside,
                underway=underway,
            )
        )
    return story
