"""Hooks: the user's own functions, named 'module:function' in a plan."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from framepace.errors import PlanError


def load_hook(name: str) -> Callable[..., Any]:
    """The function that 'module:function' names; modules in the current folder can be named too.

    Raises PlanError saying which part cannot be found.
    """
    module_name, colon, function = name.partition(":")
    if not (colon and module_name and function):
        raise PlanError("a hook is named by module and function", got=name, expected="module:function")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's module raises while it is imported
        fix = "run from the module's folder, or install it"
        raise PlanError(f"the hook's module {module_name!r} cannot be imported", got=repr(error), fix=fix) from error
    hook = getattr(module, function, None)
    if not callable(hook):
        found = ", ".join(sorted(n for n, v in vars(module).items() if callable(v) and not n.startswith("_"))[:10])
        raise PlanError(f"module {module_name!r} has no function {function!r}", got=function, expected=found or "one")
    return hook  # type: ignore[no-any-return]
