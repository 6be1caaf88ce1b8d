"""EVAL: steps that a server executes as one. What was wrong as two steps may be right as one script."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from course_tasks.interleavings.commands import Command, OnKey
from course_tasks.interleavings.yielding import Yielding


@dataclass(frozen=True)
class EVAL(Command):
    """Run a script in one step: nobody else's command comes between its own.

    ``script`` is a generator function that yields commands of Redis, as a lock does; ``args`` are its arguments, strings and
    whole numbers, which come to it as strings. The answer is what it returns: a whole number, a string or None. All that is
    as with scripts in Lua, and so are two more things: True comes out as 1, and False as None. ::

        def compare_and_delete(key, value):
            if (yield GET(key)) == value:
                return (yield DEL(key))
            return 0

        removed = yield EVAL(compare_and_delete, "lock", me)
    """

    script: Callable
    args: tuple

    def __init__(self, script, *args):
        for value in args:
            if type(value) not in (str, int):
                raise TypeError(f"EVAL: an argument is a string or a whole number, and not {value!r}")
        object.__setattr__(self, "script", script)
        object.__setattr__(self, "args", args)

    def words(self):
        return (getattr(self.script, "__name__", "script"), *self.args)

    def run(self, store, client):
        with closing(Yielding(lambda: self.script(*map(str, self.args)), f"{client}'s {self}")) as steps:
            command = steps.next()
            while command is not None:
                if not isinstance(command, OnKey):
                    raise steps.wrong("goes beyond Redis: a script yields only commands of Redis")
                command = steps.next(command.run(store, client))
            if not isinstance(steps.returned, int | str | None):
                raise steps.wrong(f"returns {steps.returned!r}: a script returns a whole number, a string or None")
        return {True: 1, False: None}[steps.returned] if isinstance(steps.returned, bool) else steps.returned
