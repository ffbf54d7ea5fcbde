"""Hooks: the user's own functions, named 'module:function' in a plan.

Whatever a hook does is a failed frame and no end of the run: it raises, it calls `sys.exit`, it does not return. The
last is interrupted, which works while it runs Python; a hook that waits in a library for ever ends the process, since
nothing else does.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from framepace.errors import PlanError
from framepace.interrupts import end

LIMIT_S = 30.0  # for one call of a hook; the first one may load what it needs
_GRACE_S = 3.0  # for an interrupted hook to end


def load_hook(name: str) -> Callable[..., Any]:
    """The function that 'module:function' names; modules in the current folder can be named too.

    What it raises comes as a PlanError; so does a call that does not return within `LIMIT_S`, and every one after that.

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
    except (Exception, SystemExit) as error:  # whatever the user's module raises while it is imported
        fix = "run from the module's folder, or install it"
        raise PlanError(f"the hook's module {module_name!r} cannot be imported", got=repr(error), fix=fix) from error
    hook = getattr(module, function, None)
    if not callable(hook):
        found = ", ".join(sorted(n for n, v in vars(module).items() if callable(v) and not n.startswith("_"))[:10])
        raise PlanError(f"module {module_name!r} has no function {function!r}", got=function, expected=found or "one")
    return _Guarded(name, hook)


class _Late(BaseException):
    """Raised within a hook that does not return."""


class _Guarded:
    """A hook whose failures are all of one kind, called from any number of threads."""

    def __init__(self, name: str, hook: Callable[..., Any]) -> None:
        self._name = name
        self._hook = hook
        self._late = False

    def __call__(self, *arguments: Any) -> Any:
        """Call the hook. Raises PlanError where it fails."""
        if self._late:
            raise self._too_late()
        try:
            return self._watched(arguments)
        except _Late:
            self._late = True
            raise self._too_late() from None
        except (Exception, SystemExit) as error:
            raise PlanError(f"the hook {self._name!r} failed on a frame", got=repr(error)) from error

    def _watched(self, arguments: tuple[Any, ...]) -> Any:
        thread = threading.get_ident()
        _WATCH.begin(thread, self._name)
        try:
            return self._hook(*arguments)
        finally:
            _WATCH.end(thread)

    def _too_late(self) -> PlanError:
        got = f"no answer in {LIMIT_S:g} s"
        return PlanError(
            f"the hook {self._name!r} did not return", got=got, fix="it is called once per frame: return soon"
        )


class _Watch:
    """Which threads are in a hook since when; interrupts those that are too long."""

    def __init__(self) -> None:
        self._calls: dict[int, tuple[float, str]] = {}
        self._interrupted: dict[int, float] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self, thread: int, name: str) -> None:
        """`thread` calls the hook `name`."""
        self._calls[thread] = (time.monotonic(), name)
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._look, name="hooks", daemon=True)
                    self._thread.start()

    def end(self, thread: int) -> None:
        """It returned."""
        with self._lock:  # not while it is interrupted
            self._calls.pop(thread, None)

    def _look(self) -> None:
        while True:
            time.sleep(min(1.0, LIMIT_S / 4))
            now = time.monotonic()
            for thread, (began, name) in tuple(self._calls.items()):
                if now - began > LIMIT_S + _GRACE_S:
                    end(f"the hook {name!r} did not return in {LIMIT_S:g} s, and cannot be interrupted")
                elif now - began > LIMIT_S:
                    self._interrupt(thread, began)

    def _interrupt(self, thread: int, began: float) -> None:
        with self._lock:
            call = self._calls.get(thread)
            if call is None or call[0] != began or self._interrupted.get(thread) == began:
                return
            self._interrupted[thread] = began
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(_Late))


_WATCH = _Watch()
