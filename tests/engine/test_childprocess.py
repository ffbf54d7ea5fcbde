"""Child processes: calls and answers, errors as they were raised, and none that outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

import psutil
import pytest

from framepace.engine.childprocess import ChildProcess, Progress, end_all, sendable, serve_calls
from framepace.errors import BackendError, UsageError
from tests.doubles.processes import runs, waited_for

PARENT = """
import threading
from tests.engine.test_childprocess import nap
from framepace.engine.childprocess import ChildProcess

children = []

def start():
    children.append(ChildProcess("sleeper", nap))
    print(children[-1].channel.receive(), flush=True)

if __name__ == "__main__":
    start()
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    threading.Event().wait()
"""


def echo(pipes: list[Connection], word: str) -> None:
    """Answers until the parent hangs up: `word` once more each time, an error, or its end without a word."""

    def fail(kind: str) -> None:
        raise UsageError("no", got=kind)

    serve_calls(pipes[0], {"more": lambda times: word * times, "fail": fail, "die": lambda: os._exit(7)})


def load(pipes: list[Connection]) -> None:
    """Reports half-way, then an answer."""
    pipes[0].send(Progress("half", 0.5))
    pipes[0].send("loaded")


def nap(pipes: list[Connection]) -> None:
    """Sends its process id, and does not listen."""
    pipes[0].send(os.getpid())
    time.sleep(3600)


@pytest.fixture
def child() -> Any:
    """An `echo`, ended at the end."""
    process = ChildProcess("the echo", echo, "ab")
    yield process
    process.end()


def test_calls_are_answered_in_order(child: ChildProcess) -> None:
    """Two calls on their way: the first answer is that of the first."""
    child.channel.call("more", 1)
    child.channel.call("more", 2)
    assert [child.channel.answer(), child.channel.answer()] == ["ab", "abab"]


def test_an_error_there_is_the_same_error_here(child: ChildProcess) -> None:
    """UsageError with its text; the child answers the next call all the same."""
    child.channel.call("fail", "this")
    with pytest.raises(UsageError, match="this"):
        child.channel.answer()
    child.channel.call("more", 1)
    assert child.channel.answer() == "ab"


def test_a_death_is_a_sentence(child: ChildProcess) -> None:
    """BackendError with what died, its exit code, and how to go on; hanging up afterwards is no error."""
    child.channel.call("die")
    with pytest.raises(BackendError, match="the echo died") as error:
        child.channel.answer()
    assert "exit code 7" in str(error.value)
    assert "__main__" in str(error.value)
    child.channel.hang_up("more")


def test_progress_comes_before_the_answer() -> None:
    """Told to the callback, and not taken for the answer."""
    process = ChildProcess("loader", load)
    told: list[tuple[str, float | None]] = []
    assert process.channel.receive(lambda text, share: told.append((text, share))) == "loaded"
    assert told == [("half", 0.5)]
    process.end()


def test_what_does_not_listen_is_killed_and_all_share_one_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that sleep for an hour end together, after the patience for one."""
    monkeypatch.setattr("framepace.engine.childprocess.PATIENCE_S", 0.5)
    patience = []
    wait_or_kill = ChildProcess.wait_or_kill

    def noted(child: ChildProcess, seconds: float) -> None:
        patience.append(seconds)
        wait_or_kill(child, seconds)

    monkeypatch.setattr(ChildProcess, "wait_or_kill", noted)
    children = [ChildProcess("sleeper", nap) for _ in range(2)]
    pids = [process.channel.receive() for process in children]
    end_all(children)
    assert patience == [pytest.approx(0.5, abs=0.5), 0.0]
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_an_error_that_cannot_be_pickled_is_its_text() -> None:
    """An exception with a lock in it becomes a RuntimeError."""
    error = ValueError("locked")
    error.lock = threading.Lock()  # type: ignore[attr-defined]
    assert repr(sendable(error)) == "RuntimeError('locked')"
    assert isinstance(sendable(ValueError("plain")), ValueError)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_no_child_outlives_its_parent(signum: signal.Signals) -> None:
    """Of a parent that is killed, the child of the main thread and that of a thread which has ended are gone."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(parent.stdout.readline()) for _ in range(2)]
        children = [psutil.Process(pid) for pid in pids]
        assert all(map(runs, children))
        parent.send_signal(signum)
    assert waited_for(lambda: not any(map(runs, children)))
