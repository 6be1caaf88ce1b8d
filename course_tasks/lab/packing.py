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
from types import ModuleType

import cloudpickle

PLAIN = (pickle.PicklingError, TypeError, AttributeError, NotImplementedError, RecursionError)
STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
INSTALLED = {"site-packages", "dist-packages"}


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
    with _learners_modules_by_value():
        try:
            return cloudpickle.dumps(lock)
        except PLAIN as error:
            name = getattr(lock, "__name__", repr(lock))
            found = list(_unsendable(lock, name, set())) or [f"something ({error})"]
            raise TypeError(
                f"{name} can't be sent to the workers: it reaches {', '.join(found)}, which belongs to this process alone. "
                "Make it in __init__ or in acquire(), where each worker makes its own, and use the client that is passed in."
            ) from error


@contextlib.contextmanager
def _learners_modules_by_value():
    """Send the code of the learner's own modules, not only their names: a worker could not import them."""
    theirs = [module for name, module in list(sys.modules.items()) if _is_learners(name, module)]
    for module in theirs:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in theirs:
            cloudpickle.unregister_pickle_by_value(module)


def _is_learners(name, module):
    """Whether ``module`` was found beside the notebook or the script, and is neither installed nor the course's own."""
    if not isinstance(module, ModuleType) or module.__name__ != name:
        return False
    file = vars(module).get("__file__")  # asking a lazy module for the attribute might import something
    if not file or name.partition(".")[0] in ("course_tasks", "__main__"):
        return False
    path = Path(file)
    return path.is_absolute() and not INSTALLED & set(path.parts) and not path.is_relative_to(STANDARD_LIBRARY)


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
        inner |= {base.__name__: base for base in value.__bases__}
    elif inspect.isfunction(value):
        reached = inspect.getclosurevars(value)
        named = {key: what.default for key, what in inspect.signature(value).parameters.items()}
        inner = {**reached.globals, **reached.nonlocals, **named}
    elif isinstance(value, staticmethod | classmethod):
        inner = {name: value.__func__}
    elif inspect.ismodule(value):
        inner = {f"{name}.{key}": item for key, item in vars(value).items()}
    else:
        yield f"the variable {name} (a {type(value).__module__}.{type(value).__name__})"
        return
    for key, item in inner.items():
        yield from _unsendable(item, key, seen)
