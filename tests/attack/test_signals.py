"""Programs that are told to stop, at random moments and in every state: what was measured stays, and nothing else."""

from __future__ import annotations

import collections
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.doubles.processes import runs, waited_for

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
NULL = ("null", "--set", "backend=null", "--set", "option.latency_us=300", "--size", "64x64", "--scope", "pipeline")
SECONDS = ("--seconds", "0.3")
VERBS: dict[str, tuple[str, ...]] = {
    "bench": ("bench", *NULL, *SECONDS),
    "processes": ("bench", *NULL, *SECONDS, "--set", "strategy=processes"),
    "worker processes": ("bench", *NULL, *SECONDS, "--set", "strategy=worker-processes", "--set", "workers=2"),
    "sweep": ("sweep", *NULL, *SECONDS, "--vary", "strategy=serial,processes"),
    "capacity": ("capacity", *NULL[:-2], "--fps", "30", "--p99-ms", "33", "--max", "2", "--time-limit", "4"),
    "doctor": ("doctor",),
}
HOOKS = """
import sys, threading
from pathlib import Path

def silent(model, outputs, frame): raise ValueError
def leave(model, outputs, frame): sys.exit(3)
def talk(model, outputs, frame): print("said by the hook", flush=True)
def hang(model, outputs, frame):
    Path("hanging").touch()
    threading.Event().wait()
"""
END_S = 15.0  # for a program that was told to stop, on a machine that does much else


@dataclass
class Stopped:
    """A program that was told to stop, and what it left."""

    code: int
    out: str
    err: str
    alive: bool
    """Whether it still ran when it was told."""
    left: list[psutil.Process]


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _nothing_runs_on() -> Iterator[None]:
    """A test that fails leaves no program behind, which would take the cores of all that follow."""
    yield
    while STARTED:
        program = STARTED.pop()
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """The program, in a process group of its own."""
    program = subprocess.Popen(
        [sys.executable, "-m", "framepace", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    STARTED.append(program)
    return program


def stop(program: subprocess.Popen[str], signum: int, group: bool = False) -> Stopped:
    """Signal the program or its group, and wait for its end."""
    children = []
    alive = program.poll() is None
    if alive:
        try:
            children = psutil.Process(program.pid).children(recursive=True)
            (os.killpg if group else os.kill)(program.pid, signum)
        except (psutil.NoSuchProcess, ProcessLookupError):
            alive = False
    out, err = program.communicate(timeout=END_S)
    waited_for(lambda: not any(map(runs, children)))
    return Stopped(program.returncode, out, err, alive, list(filter(runs, children)))


def shared_memory() -> set[str]:
    """What is in /dev/shm."""
    folder = Path("/dev/shm")
    return set(os.listdir(folder)) if folder.is_dir() else set()


def until(happened: Callable[[], bool]) -> None:
    """Wait for it, for at most a minute."""
    deadline = time.monotonic() + 60.0
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def hooks(tmp_path: Path) -> Path:
    """A folder with hooks, to be named 'attackhooks:NAME'."""
    (tmp_path / "attackhooks.py").write_text(HOOKS)
    return tmp_path


def stop_at_random(folder: Path, seed: int, count: int) -> None:
    """Programs stopped at seeded moments: exit code and word of the signal, no traceback, nobody left, all readable."""
    moments = random.Random(seed)
    before = shared_memory()
    outcomes: collections.Counter[str] = collections.Counter()
    for number in range(count):
        verb = moments.choice(list(VERBS))
        signum = moments.choice(list(CODES))
        place = folder / str(number)
        place.mkdir()
        program = start(place, *VERBS[verb])
        time.sleep(moments.uniform(0.15, 3.0))  # the moment is what is tried
        end = stop(program, signum, group=moments.random() < 0.5)
        what = f"seed {seed}, number {number}: {verb}, {signum!r}\n{end}"
        assert "Traceback" not in end.err + end.out, what
        assert not end.left, what
        if not end.alive:
            continue
        outcomes[verb] += 1
        # But for its last lines one may be over already, and end with its answer.
        assert end.code in (CODES[signum], 0, 1, -signum), what
        assert ("interrupted" in end.err) == (end.code == CODES[signum]), what
        for meta in place.rglob("meta.json"):
            json.loads(meta.read_bytes())
    assert shared_memory() <= before
    print(f"stopped alive: {dict(outcomes)}")


@pytest.mark.timeout(200)
@pytest.mark.long  # at some moments a command ends by the signal itself instead of with its exit code
def test_any_verb_is_stopped_at_any_moment(tmp_path: Path) -> None:
    """The short form of what is tried in `test_any_verb_is_stopped_at_many_moments`."""
    stop_at_random(tmp_path, seed=1, count=12)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2, 7))
def test_any_verb_is_stopped_at_many_moments(tmp_path: Path, seed: int) -> None:
    """Five seeds of 60 moments."""
    stop_at_random(tmp_path, seed, count=60)


@pytest.mark.parametrize("signum", list(CODES))
def test_nothing_is_lost_and_nobody_left_in_mid_run(tmp_path: Path, signum: signal.Signals) -> None:
    """Once rows are on disk, the first signal closes the trace, prints its numbers and ends with the signal's code."""
    program = start(tmp_path, "bench", *NULL, "--seconds", "100", "--out", "t")
    journal = tmp_path / "t" / "requests.journal"
    until(lambda: journal.exists() and journal.stat().st_size > 0)
    end = stop(program, signum)
    assert end.code == CODES[signum], end
    assert "interrupted" in end.err
    assert "p50" in end.out
    assert (tmp_path / "t" / "requests.parquet").exists()
    assert not end.left


def test_a_sweep_keeps_the_cells_that_are_complete(tmp_path: Path) -> None:
    """Ctrl-C in its second cell, in a process of its own: the first is in the table."""
    program = start(
        tmp_path, "sweep", *NULL, "--seconds", "0.3", "--vary", "strategy=serial,threads,processes", "--out", "s"
    )
    until(lambda: (tmp_path / "s" / "sweep.json").exists())
    end = stop(program, signal.SIGINT)
    assert end.code == 130, end
    assert "serial" in end.out
    assert not end.left


@pytest.mark.parametrize("strategy", ["workers", "threads", "asyncio", "processes"])
def test_the_second_ctrl_c_ends_what_never_returns(hooks: Path, strategy: str) -> None:
    """A hook waits for ever: the first Ctrl-C says that it keeps what was measured, the second ends at once."""
    program = start(
        hooks, "bench", *NULL, *SECONDS, "--set", "finish=attackhooks:hang", "--set", f"strategy={strategy}"
    )
    until((hooks / "hanging").exists)
    program.send_signal(signal.SIGINT)
    assert program.stderr is not None
    assert "interrupted" in program.stderr.readline()
    time.sleep(0.5)  # nearer ones are one press
    end = stop(program, signal.SIGINT)
    assert end.code == 130, end
    assert not end.left


def test_signals_that_come_together_are_one(tmp_path: Path) -> None:
    """As `timeout` sends them, to a process and to its group: the trace is closed all the same."""
    program = start(tmp_path, "bench", *NULL, "--seconds", "100", "--out", "t")
    journal = tmp_path / "t" / "requests.journal"
    until(lambda: journal.exists() and journal.stat().st_size > 0)
    program.send_signal(signal.SIGTERM)
    end = stop(program, signal.SIGTERM, group=True)
    assert end.code == 143, end
    assert (tmp_path / "t" / "requests.parquet").exists()


@pytest.mark.parametrize("verb", ["processes", "worker processes", "sweep"])
def test_nobody_outlives_a_killed_group(tmp_path: Path, verb: str) -> None:
    """SIGKILL to the whole group: the children, which have groups of their own, and the shared memory are gone."""
    before = shared_memory()
    program = start(tmp_path, *VERBS[verb], "--seconds", "100", "--out", "t")
    until(lambda: any(tmp_path.rglob("requests.journal")))
    end = stop(program, signal.SIGKILL, group=True)
    assert end.code == -signal.SIGKILL
    assert not end.left
    assert shared_memory() <= before


@pytest.mark.parametrize(("hook", "reason"), [("silent", "ValueError()"), ("leave", "SystemExit(3)")])
def test_a_run_of_which_nothing_succeeds_is_no_success(hooks: Path, hook: str, reason: str) -> None:
    """Hooks that always fail, without a message or by sys.exit: soon over, exit code 1 and the reason in one line."""
    end = start(hooks, "bench", *NULL, "--seconds", "100", "--set", f"finish=attackhooks:{hook}")
    out, err = end.communicate(timeout=60)
    assert end.returncode == 1, err
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert reason in line
    assert "Traceback" not in out + err


def test_a_sweep_whose_cells_all_fail_is_no_success(hooks: Path) -> None:
    """Exit code 1, and why the first one failed."""
    end = start(hooks, "sweep", *NULL, *SECONDS, "--set", "finish=attackhooks:silent", "--vary", "workers=1,2")
    _, err = end.communicate(timeout=60)
    assert end.returncode == 1
    assert "every cell failed" in err
    assert "ValueError()" in err


@pytest.mark.parametrize("strategy", ["workers", "processes"])
def test_what_a_hook_prints_is_not_among_the_results(hooks: Path, strategy: str) -> None:
    """With --json standard output is one object, and what was printed is on standard error."""
    end = start(
        hooks, "bench", *NULL, *SECONDS, "--set", "finish=attackhooks:talk", "--set", f"strategy={strategy}", "--json"
    )
    out, err = end.communicate(timeout=60)
    assert json.loads(out)["schema"] == "framepace.bench/1"
    assert "said by the hook" in err


def shell(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """A line of bash, in which $F is the program."""
    environment = {**os.environ, "F": f"{sys.executable} -m framepace"}
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("$F doctor | head -1; exit ${PIPESTATUS[0]}", 0),
        ("$F settings --json | head -c 1; exit ${PIPESTATUS[0]}", 0),
        ("$F doctor > /dev/full", 2),
        ("$F doctor >&-", 2),
        ("$F settings > /dev/full 2>&1", 2),
        ("$F settings 2>&-", 0),
        ("ulimit -n 10; $F bench builtin:classifier --seconds 0.1", 2),
        ("ulimit -v 200000; $F bench builtin:classifier --seconds 0.1", 2),
    ],
)
def test_what_the_system_refuses_is_a_sentence(tmp_path: Path, script: str, code: int) -> None:
    """Outputs that are full, closed or gone, and limits: the exit code says whether the result could be given."""
    end = shell(tmp_path, script)
    assert end.returncode == code, end
    assert "Traceback" not in end.stderr + end.stdout


def test_too_many_open_files_is_told_as_that(tmp_path: Path) -> None:
    """Not as a damaged model or video."""
    end = shell(tmp_path, "ulimit -n 10; $F bench builtin:classifier --seconds 0.1")
    assert "Too many open files" in end.stderr
    assert "ulimit -n" in end.stderr


def test_onnx_runtime_leaves_no_telemetry(tmp_path: Path) -> None:
    """Its own is switched off: no file of it in the user's folders."""
    environment = {**os.environ, "HOME": str(tmp_path / "home"), "FRAMEPACE_CACHE": str(tmp_path / "cache")}
    environment.pop("XDG_CACHE_HOME", None)
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    (tmp_path / "home").mkdir()
    command: Sequence[str] = (
        sys.executable, "-m", "framepace", "bench", "builtin:classifier", "--seconds", "0.1", "--out", "t",
    )  # fmt: skip
    subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=100, check=False)
    assert (tmp_path / "t" / "meta.json").exists()
    assert not [path for path in (tmp_path / "home").rglob("*") if "onnxruntime" in path.name]
