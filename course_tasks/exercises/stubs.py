"""Whether a lock has been written at all, found by what it does: the convention is told in ``definition``.

These functions run in a call's process, before any server has been started.
"""

import inspect


def unwritten(lock, methods):
    """Whether ``lock`` is a stub: NotImplementedError from making one, or from each of ``methods`` on a new one."""
    return all(_is_stub(lock, method) for method in methods)


def _is_stub(lock, method):
    try:
        function = getattr(lock(_Untouchable(), "stub"), method)
        function(*(1.0 for parameter in inspect.signature(function).parameters.values() if _is_needed(parameter)))
    except NotImplementedError:
        return True
    except BaseException:  # no connection, no lock to release: whatever it is, somebody has written it
        return False
    return False


def _is_needed(parameter):
    return parameter.default is parameter.empty and parameter.kind <= parameter.POSITIONAL_OR_KEYWORD


class _Untouchable:
    """A client that has nothing: whoever uses it has been written."""

    def __getattr__(self, name):
        raise AttributeError(name)
