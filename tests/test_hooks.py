"""Hooks: one that does not do what is asked of it ends the run, with its line and what it was called with."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from framepace.errors import HookNeverWorked, PlanError
from framepace.hooks import interrupt_hooks, load_hook

HOOKS = """import threading


def two_arguments(model, outputs):
    pass


def wrong_name(model, outputs, frame):
    return outputs["boxes"]


def later(model, outputs, frame):
    if frame:
        raise ValueError("a bad frame")


ready = threading.Event()


def stuck(model, outputs, frame):
    ready.set()
    while True:
        threading.Event().wait(0.001)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of a user, in the current folder."""
    name = f"hooks_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(HOOKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def call(hook: str, frame: int = 0) -> None:
    """Call a hook as a run does."""
    load_hook(hook)("detector", {"out": np.zeros((1, 7), "f4")}, frame)


@pytest.mark.parametrize(
    ("function", "line", "error"),
    [("two_arguments", 4, "takes 2 positional arguments"), ("wrong_name", 9, "KeyError: 'boxes'")],
)
def test_the_first_call_names_hook_line_and_arguments(module: str, function: str, line: int, error: str) -> None:
    """The line is the user's own; where the call never got there, that of the definition."""
    with pytest.raises(HookNeverWorked) as raised:
        call(f"{module}:{function}")
    text = str(raised.value)
    assert f"the hook '{module}:{function}' failed on its first call" in text
    assert error in text
    assert f"{module}.py:{line}: " in text
    assert "('detector', {'out': float32 [1, 7]}, 0)" in text
    assert raised.value.exit_code == 2


def test_a_hook_that_worked_fails_on_a_frame(module: str) -> None:
    """It is then no end of the run."""
    hook = load_hook(f"{module}:later")
    hook("detector", {}, 0)
    with pytest.raises(PlanError, match=r"failed on a frame\n.*ValueError: a bad frame") as raised:
        hook("detector", {}, 1)
    assert not isinstance(raised.value, HookNeverWorked)


def test_a_hook_that_does_not_return_is_interrupted_when_the_run_is_over(module: str) -> None:
    """Its frame fails, and so does every later one."""
    hook = load_hook(f"{module}:stuck")
    errors: list[PlanError] = []

    def work() -> None:
        with pytest.raises(PlanError, match="did not return") as raised:
            hook("detector", {}, 0)
        errors.append(raised.value)

    thread = threading.Thread(target=work)
    thread.start()
    sys.modules[module].ready.wait()
    interrupt_hooks(0.0)
    thread.join()
    assert len(errors) == 1
    with pytest.raises(PlanError, match="did not return"):
        hook("detector", {}, 1)
