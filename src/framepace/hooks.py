"""Hooks: the user's own functions, named 'module:function' in a plan.

A hook that fails on its first call ends the run before anything is measured: it does not do what is asked of it. Later,
whatever a hook does is a failed frame and no end of the run: it raises, it calls `sys.exit`, it does not return. The
last is interrupted, which works while it runs Python; a hook that waits in a library for ever ends the process, since
nothing else does.
"""

from __future__ import annotations

import ctypes
import importlib
import inspect
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from framepace.errors import HookNeverWorked, PlanError
from framepace.interrupts import end

LIMIT_S = 30.0  # for one call of a hook; the first one may load what it needs
_GRACE_S = 3.0  # for an interrupted hook to end


def load_hook(name: str) -> Callable[..., Any]:
    """The function that 'module:function' names; modules in the current folder can be named too.

    What it raises comes as a PlanError, before its first success as HookNeverWorked; so does a call that does not
    return within `LIMIT_S`, and every one after that.

    Raises PlanError saying which part cannot be found.
    """
    return _Guarded(name, hook_function(name))


def hook_function(name: str) -> Callable[..., Any]:
    """The function that 'module:function' names as it is, for callers that wait for it on a thread of its own.

    Raises PlanError saying which part cannot be found.
    """
    module_name, colon, function = name.partition(":")
    if not (colon and module_name and function):
        raise PlanError("a hook is named by module and function", got=name, expected="module:function")
    module = _import(module_name)
    hook: Callable[..., Any] | None = getattr(module, function, None)
    if not callable(hook):
        expected = ", ".join(_functions(module)) or "one"
        fix = "name a function of the module's, or another module"
        problem = f"module {module_name!r} has no function {function!r}"
        raise PlanError(problem, got=function, expected=expected, fix=fix)
    return hook


def _import(name: str) -> ModuleType:
    """The module of that name, which may be in the current folder. Raises PlanError."""
    current = str(Path.cwd())
    if current not in sys.path:
        sys.path.insert(0, current)
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # whatever the user's module raises while it is imported
        fix = "run from the module's folder, or install it"
        raise PlanError(f"the hook's module {name!r} cannot be imported", got=repr(error), fix=fix) from error


def _functions(module: ModuleType) -> list[str]:
    """The first ten names of a module's functions."""
    names = (name for name, value in vars(module).items() if callable(value) and not name.startswith("_"))
    return sorted(names)[:10]


class _Late(BaseException):
    """Raised within a hook that does not return."""


class _Guarded:
    """A hook whose failures are all of one kind, called from any number of threads."""

    def __init__(self, name: str, hook: Callable[..., Any]) -> None:
        self._name = name
        self._hook = hook
        self._late = False
        self._worked = False

    def __call__(self, *arguments: Any) -> Any:
        """Call the hook. Raises HookNeverWorked where it fails before its first success, later PlanError."""
        if self._late:
            raise self._too_late()
        try:
            result = self._watched(arguments)
        except _Late:
            self._late = True
            raise self._too_late() from None
        except (Exception, SystemExit) as error:
            raise self._failed(error, arguments) from error
        self._worked = True
        return result

    def _failed(self, error: BaseException, arguments: tuple[Any, ...]) -> PlanError:
        got = f"{_one_line(error)}, at {_place(self._hook, error)}"
        called = ", ".join(_shown(argument) for argument in arguments)
        if self._worked:
            fix = f"correct the function for this frame; it was called with ({called})"
            return PlanError(f"the hook {self._name!r} failed on a frame", got=got, fix=fix)
        fix = f"correct the function; it is called with ({called})"
        return HookNeverWorked(f"the hook {self._name!r} failed on its first call", got=got, fix=fix)

    def _watched(self, arguments: tuple[Any, ...]) -> Any:
        thread = threading.get_ident()
        _WATCH.begin(thread, self._name)
        try:
            return self._hook(*arguments)
        finally:
            _WATCH.end(thread)

    def _too_late(self) -> PlanError:
        got = f"no answer in {LIMIT_S:g} s, or when the run was over"
        return PlanError(
            f"the hook {self._name!r} did not return", got=got, fix="it is called once per frame: return soon"
        )


def _one_line(error: BaseException) -> str:
    return " ".join("".join(traceback.format_exception_only(error)).split())


def _place(hook: Callable[..., Any], error: BaseException) -> str:
    """File, line and text where `error` was raised within the user's code; the definition where it never got there."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).is_file() and not _is_installed(frame.filename):
            return f"{frame.filename}:{frame.lineno}: {frame.line}"
    try:
        lines, number = inspect.getsourcelines(hook)
        return f"{inspect.getsourcefile(hook)}:{number}: {lines[0].strip()}"
    except (OSError, TypeError):  # made in C, or at run time
        return repr(hook)


def _is_installed(path: str) -> bool:
    """Whether a file is framepace's own or a library's, and not the user's."""
    installed = (Path(__file__).parent, sysconfig.get_path("stdlib"))
    return "site-packages" in path or any(Path(path).is_relative_to(folder) for folder in installed)


def _shown(argument: Any) -> str:
    """What a hook is called with, in a few words: shapes and dtypes in place of numbers."""
    if isinstance(argument, Mapping):
        inner = ", ".join(f"{name!r}: {_shown(value)}" for name, value in argument.items())
        return f"{{{inner}}}"
    if hasattr(argument, "shape") and hasattr(argument, "dtype"):
        return f"{argument.dtype} {list(argument.shape)}"
    if isinstance(argument, str | int | float):
        return repr(argument)
    return f"a {type(argument).__name__}"


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

    def interrupt_all(self, older_s: float) -> None:
        """Interrupt the calls that have lasted for so long."""
        now = time.monotonic()
        for thread, (began, _) in tuple(self._calls.items()):
            if now - began > older_s:
                self._interrupt(thread, began)

    def _interrupt(self, thread: int, began: float) -> None:
        with self._lock:
            call = self._calls.get(thread)
            if call is None or call[0] != began or self._interrupted.get(thread) == began:
                return
            self._interrupted[thread] = began
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(_Late))


_WATCH = _Watch()


def interrupt_hooks(older_s: float) -> None:
    """Interrupt the hooks that have not returned for so many seconds: the run is over."""
    _WATCH.interrupt_all(older_s)
