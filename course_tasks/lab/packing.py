"""A lock's way from a notebook cell into the workers: cloudpickle, through a file in the lab's private directory.

Never through the broker, which accepts JSON only: whoever can write to a queue that takes pickles runs code in every
worker.
"""

import contextlib
import inspect
import pickle
import sys
import sysconfig
from pathlib import Path

import cloudpickle

PLAIN = (pickle.PicklingError, TypeError, AttributeError, NotImplementedError, RecursionError)


def pack(lock):
    """The pickled form (bytes) of ``lock``, a class or a callable that takes (client, name).

    Raises TypeError where it is something else, or where it reaches what can't leave this process; the message names
    the variable and says where to make it instead.
    """
    if not callable(lock):
        raise TypeError(
            f"lock must be a class, or a function that takes (client, name) and returns a lock; {lock!r} is an object of "
            f"{type(lock).__name__}: pass the class itself, without making one here."
        )
    try:
        with _by_value(lock):
            return cloudpickle.dumps(lock)
    except PLAIN as error:
        name = getattr(lock, "__name__", repr(lock))
        found = list(_unsendable(lock, name, set())) or [f"something ({error})"]
        raise TypeError(
            f"{name} can't be sent to the workers: it reaches {', '.join(found)}, which belongs to this process alone. "
            "Make it in __init__ or in acquire(), where each worker makes its own, and use the client that is passed in."
        ) from error


@contextlib.contextmanager
def _by_value(lock):
    """Send the code of a module that is the learner's own too: a worker could not import it."""
    module = sys.modules.get(getattr(lock, "__module__", None))
    file = getattr(module, "__file__", None)
    installed = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    theirs = file and not any(Path(file).is_relative_to(path) for path in installed)
    if not theirs or module.__name__.split(".")[0] in ("course_tasks", "__main__"):
        yield
        return
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def _unsendable(value, name, seen):
    """Yield a description of each variable under ``value`` (called ``name``) that can't be pickled."""
    if id(value) in seen:
        return
    seen.add(id(value))
    try:
        cloudpickle.dumps(value)
        return
    except PLAIN:
        pass
    if inspect.isclass(value):
        inner = {f"{name}.{key}": item for key, item in vars(value).items()}
    elif inspect.isfunction(value):
        reached = inspect.getclosurevars(value)
        inner = {**reached.globals, **reached.nonlocals}
    elif isinstance(value, staticmethod | classmethod):
        inner = {name: value.__func__}
    else:
        yield f"the variable {name} (a {type(value).__module__}.{type(value).__name__})"
        return
    for key, item in inner.items():
        yield from _unsendable(item, key, seen)
