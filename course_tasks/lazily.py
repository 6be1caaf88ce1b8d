"""Public names that are looked up when they are first used, so that importing a package loads none of its modules."""

from importlib import import_module


def exports(package, homes):
    """The module-level ``__getattr__`` (PEP 562) of ``package``; ``homes`` says in which of its modules each name lives."""

    def __getattr__(name):
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return __getattr__
