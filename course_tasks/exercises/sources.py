"""The source of a reference answer, such that it runs in a cell of its own: with the imports that it needs."""

import ast
import inspect
import sys
from types import ModuleType


def source(parts):
    """The source of the functions and classes ``parts``, all of one module, after the imports that they need."""
    code = "\n\n\n".join(inspect.getsource(part).strip() for part in parts)
    home = sys.modules[parts[0].__module__]
    used = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    mine = {part.__name__ for part in parts}
    imports = sorted(_import(name, vars(home)[name]) for name in used - mine if name in vars(home))
    return "\n".join([*imports, "\n", code]) if imports else code


def _import(name, value):
    if isinstance(value, ModuleType):
        return f"import {name}" if value.__name__ == name else f"import {value.__name__} as {name}"
    return f"from {value.__module__} import {name}"
