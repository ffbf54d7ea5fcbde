"""Calls that nothing can stop: the program ends instead."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from framepace import interrupts


def test_a_call_that_does_not_return_in_time_ends_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what did not return, and for how long; one that returns ends nothing, and leaves no thread."""
    ended = threading.Event()
    reasons: list[str] = []

    def end(why: str) -> None:
        reasons.append(why)
        ended.set()

    monkeypatch.setattr(interrupts, "end", end)
    before = threading.active_count()
    with interrupts.ended_after(1e6, "loading m"):
        pass
    with pytest.raises(ValueError, match="its own error"), interrupts.ended_after(1e6, "loading m"):
        raise ValueError("its own error")
    with interrupts.ended_after(0.01, "loading m", "give it less"):
        assert ended.wait(60)
    assert reasons[0].startswith(
        "loading m does not return\n  got: no answer in 0.01 s\n  what to do: give it less, or look for a loop"
    )
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join()
    assert len(reasons) == 1
    assert threading.active_count() == before


_IN_A_DESTRUCTOR = """
import signal
from framepace import interrupts

class Dying:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

interrupts.listen()
dying = Dying()
del dying
try:
    interrupts.check()
except KeyboardInterrupt:
    print("stopped")
"""
_IN_A_LIBRARY = """
import signal
import framepace.cli.app
from framepace import interrupts
from framepace.cli.main import main

def app():
    with interrupts.held():
        signal.raise_signal(signal.SIGTERM)
        raise ImportError("initialization failed")

framepace.cli.app.app = app
main()
"""


def test_a_press_within_a_destructor_is_neither_shown_nor_lost() -> None:
    """Python drops what is raised there; the next check raises it."""
    done = _python(_IN_A_DESTRUCTOR)
    assert done.stdout == "stopped\n"
    assert "Traceback" not in done.stderr


def test_an_error_that_a_library_makes_of_a_press_is_no_bug() -> None:
    """C code that is loaded answers a KeyboardInterrupt with an ImportError; the exit code is the signal's."""
    done = _python(_IN_A_LIBRARY)
    assert done.returncode == 143
    assert done.stderr.startswith("SIGTERM: stopping")
    assert "bug" not in done.stderr


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


_ANNOUNCED = """
import signal, sys
from framepace import interrupts

interrupts.listen()
try:
    signal.raise_signal(getattr(signal, sys.argv[1]))
    interrupts.check()
except KeyboardInterrupt:
    pass
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SIGINT", "interrupted: stopping, and keeping what was measured (press again to end at once)"),
        ("SIGTERM", "SIGTERM: stopping, and keeping what was measured (send it again to end at once)"),
    ],
)
def test_a_signal_is_called_by_its_name(name: str, words: str) -> None:
    """Only Ctrl-C is pressed."""
    done = subprocess.run([sys.executable, "-c", _ANNOUNCED, name], stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.stderr.strip() == words


_ENDED = """
import os, signal, sys
from framepace import interrupts

interrupts.GRACE_S = 0.1
interrupts.listen()
with interrupts.stopped_by(lambda: None, grace_s=0.1):
    os.kill(os.getpid(), signal.SIGTERM)
    signal.sigwait({signal.SIGUSR1})
"""


def test_a_program_that_does_not_stop_ends_with_the_name_of_the_signal() -> None:
    """What is said at the end names it as what was said at first does."""
    done = _python(_ENDED)
    assert done.returncode == interrupts.EXIT_CODES[signal.SIGTERM]
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["SIGTERM", "SIGTERM"]
