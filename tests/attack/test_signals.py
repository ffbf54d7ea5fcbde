"""Programs that are told to stop, at random moments and in every state: what was measured stays, and nothing else."""

from __future__ import annotations

import collections
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.doubles.commands import PATIENCE_S, Command
from tests.doubles.processes import runs, waited_for

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
WORDS: dict[int, str] = {signal.SIGINT: "interrupted", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}
"""What a program says of a signal."""
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
END_S = PATIENCE_S  # for a program that was told to stop, on a machine that does much else


@dataclass
class Stopped:
    """A program that was told to stop, and what it left."""

    code: int
    out: str
    err: str
    alive: bool
    """Whether it still ran when it was told."""
    left: list[psutil.Process]


def stop(command: Command, signum: int, group: bool = False) -> Stopped:
    """Signal the command or its group, and wait for its end."""
    children = []
    alive = command.runs
    try:
        children = psutil.Process(command.pid).children(recursive=True)
        (os.killpg if group else os.kill)(command.pid, signum)
    except (psutil.NoSuchProcess, ProcessLookupError):
        alive = False
    code = command.wait(END_S if alive else PATIENCE_S)
    waited_for(lambda: not any(map(runs, children)))
    return Stopped(code, command.out, command.err, alive, list(filter(runs, children)))


def shared_memory() -> set[str]:
    """Blocks in /dev/shm. Not semaphores: framepace has none, and those of other programs come and go."""
    return {path.name for path in Path("/dev/shm").glob("*") if not path.name.startswith("sem.")}


def until_measuring(folder: Path) -> None:
    """Wait until rows of the run into 't' are on disk."""
    journal = folder / "t" / "requests.journal"
    waited_for(lambda: journal.exists() and journal.stat().st_size > 0)


@pytest.fixture
def hooks(tmp_path: Path) -> Path:
    """A folder with hooks, to be named 'attackhooks:NAME'."""
    (tmp_path / "attackhooks.py").write_text(HOOKS)
    return tmp_path


def before_framepace(end: Stopped, signum: int) -> bool:
    """Whether Python itself was ended at its own start, by the signal or with code 1, before it came to framepace.

    Its traceback then has files of Python alone, and nothing was said of the interruption.
    """
    said = WORDS[signum] in end.err or re.search(r'File "[^"]*framepace/', end.err)
    return end.code in (-signum, 1) and "Traceback" in end.err and not said


def stop_at_random(folder: Path, seed: int, count: int, fresh: bool) -> None:
    """Commands stopped at seeded moments: exit code and word of the signal, no traceback, nobody left, all readable."""
    moments = random.Random(seed)
    earliest_s = 0.05
    if fresh:
        earliest_s = 0.15
    before = shared_memory()
    outcomes: collections.Counter[str] = collections.Counter()
    for number in range(count):
        verb = moments.choice(list(VERBS))
        signum = moments.choice(list(CODES))
        place = folder / str(number)
        place.mkdir()
        with Command(place, *VERBS[verb], fresh=fresh) as command:
            if not fresh:
                waited_for(lambda: command.listens)
            time.sleep(moments.uniform(earliest_s, earliest_s * 20))  # the moment is what is tried
            end = stop(command, signum, group=moments.random() < 0.5)
        what = f"seed {seed}, number {number}: {verb}, {signum!r}\n{end}"
        if fresh and before_framepace(end, signum):
            continue
        assert "Traceback" not in end.err + end.out, what
        assert not end.left, what
        if not end.alive:
            continue
        outcomes[verb] += 1
        # But for its last lines one may be over already, and end with its answer; and Python itself may not be up yet.
        before_python = (-signum,) if fresh else ()
        assert end.code in (CODES[signum], 0, 1, *before_python), what
        assert (WORDS[signum] in end.err) == (end.code == CODES[signum]), what
        for meta in place.rglob("meta.json"):
            json.loads(meta.read_bytes())
    assert shared_memory() <= before
    print(f"stopped alive: {dict(outcomes)}")


def test_any_verb_is_stopped_at_any_moment(tmp_path: Path) -> None:
    """The short form of what is tried in `test_any_verb_is_stopped_at_many_moments`, once the commands are loaded."""
    stop_at_random(tmp_path, seed=1, count=10, fresh=False)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2, 7))
def test_any_verb_is_stopped_at_many_moments(tmp_path: Path, seed: int) -> None:
    """Five seeds of 60 moments, from the start of Python on."""
    stop_at_random(tmp_path, seed, count=60, fresh=True)


def test_a_signal_that_comes_while_python_executes_text_keeps_its_exit_code(tmp_path: Path) -> None:
    """As decorators of modules do: Python itself would end by SIGINT, even where the interruption was caught."""
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'framepace.doctoring.check':\n"
        "            exec('os.kill(os.getpid(), signal.SIGHUP)')\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from framepace.cli.main import main\n"
        "main()\n"
    )
    end = subprocess.run([sys.executable, program, "doctor"], capture_output=True, text=True, timeout=END_S)
    assert end.returncode == 129, end.stderr
    assert end.stderr.startswith("SIGHUP:")
    assert "Traceback" not in end.stderr


@pytest.mark.parametrize("signum", list(CODES))
def test_nothing_is_lost_and_nobody_left_in_mid_run(tmp_path: Path, signum: signal.Signals) -> None:
    """Once rows are on disk, the first signal closes the trace, prints its numbers and ends with the signal's code."""
    with Command(tmp_path, "bench", *NULL, "--seconds", "100", "--out", "t") as command:
        until_measuring(tmp_path)
        end = stop(command, signum)
    assert end.code == CODES[signum], end
    assert WORDS[signum] in end.err
    assert "p50" in end.out
    assert (tmp_path / "t" / "requests.parquet").exists()
    assert not end.left


def test_a_sweep_keeps_the_cells_that_are_complete(tmp_path: Path) -> None:
    """Ctrl-C in its second cell, in a process of its own: the first is in the table."""
    cells = ("--vary", "strategy=serial,threads,processes", "--out", "s")
    with Command(tmp_path, "sweep", *NULL, "--seconds", "0.3", *cells) as command:
        waited_for((tmp_path / "s" / "sweep.json").exists)
        end = stop(command, signal.SIGINT)
    assert end.code == 130, end
    assert "serial" in end.out
    assert not end.left


@pytest.mark.parametrize("strategy", ["workers", "threads", "asyncio", "processes"])
def test_the_second_ctrl_c_ends_what_never_returns(hooks: Path, strategy: str) -> None:
    """A hook waits for ever: the first Ctrl-C says that it keeps what was measured, the second ends at once."""
    hang = ("--set", "finish=attackhooks:hang", "--set", f"strategy={strategy}")
    with Command(hooks, "bench", *NULL, *SECONDS, *hang) as command:
        waited_for((hooks / "hanging").exists)
        command.signal(signal.SIGINT)
        waited_for(lambda: "interrupted" in command.err)
        time.sleep(0.5)  # nearer ones are one press
        end = stop(command, signal.SIGINT)
    assert end.code == 130, end
    assert not end.left


def test_signals_that_come_together_are_one(tmp_path: Path) -> None:
    """As `timeout` sends them, to a process and to its group: the trace is closed all the same."""
    with Command(tmp_path, "bench", *NULL, "--seconds", "100", "--out", "t") as command:
        until_measuring(tmp_path)
        command.signal(signal.SIGTERM)
        end = stop(command, signal.SIGTERM, group=True)
    assert end.code == 143, end
    assert (tmp_path / "t" / "requests.parquet").exists()


@pytest.mark.parametrize("verb", ["processes", "worker processes", "sweep"])
def test_nobody_outlives_a_killed_group(tmp_path: Path, verb: str) -> None:
    """SIGKILL to the whole group: the children, which have groups of their own, and the shared memory are gone."""
    before = shared_memory()
    with Command(tmp_path, *VERBS[verb], "--seconds", "100", "--out", "t") as command:
        waited_for(lambda: any(tmp_path.rglob("requests.journal")))
        end = stop(command, signal.SIGKILL, group=True)
    assert end.code == -signal.SIGKILL
    assert not end.left
    assert shared_memory() <= before


@pytest.mark.parametrize(("hook", "reason"), [("silent", "ValueError"), ("leave", "SystemExit: 3")])
def test_a_run_of_which_nothing_succeeds_is_no_success(hooks: Path, hook: str, reason: str) -> None:
    """Hooks that always fail, without a message or by sys.exit: soon over, with the hook, its line and its error."""
    with Command(hooks, "bench", *NULL, "--seconds", "100", "--set", f"finish=attackhooks:{hook}") as command:
        assert command.wait() == 2, command.err
        assert command.err.startswith(f"error: the hook 'attackhooks:{hook}' failed on its first call")
        assert f"{reason}, at {hooks}/attackhooks.py:" in command.err
        assert "Traceback" not in command.out + command.err


def test_a_sweep_whose_cells_all_fail_is_no_success(hooks: Path) -> None:
    """Exit code 1, and why the first one failed."""
    cells = ("--set", "finish=attackhooks:silent", "--vary", "workers=1,2")
    with Command(hooks, "sweep", *NULL, *SECONDS, *cells) as command:
        assert command.wait() == 1
        assert "every cell failed" in command.err
        assert "ValueError" in command.err


@pytest.mark.parametrize("strategy", ["workers", "processes"])
def test_what_a_hook_prints_is_not_among_the_results(hooks: Path, strategy: str) -> None:
    """With --json standard output is one object, and what was printed is on standard error."""
    talk = ("--set", "finish=attackhooks:talk", "--set", f"strategy={strategy}", "--json")
    with Command(hooks, "bench", *NULL, *SECONDS, *talk) as command:
        command.wait()
        assert json.loads(command.out)["schema"] == "framepace.bench/1"
        assert "said by the hook" in command.err


@pytest.mark.parametrize(
    ("arguments", "out", "err", "code"),
    [
        (("doctor",), "/dev/full", None, 2),
        (("doctor",), "", None, 2),
        (("settings",), "/dev/full", "/dev/full", 2),
        (("settings",), "out", "", 0),
    ],
)
def test_outputs_that_cannot_be_written_are_told_by_the_exit_code(
    tmp_path: Path, arguments: tuple[str, ...], out: str, err: str | None, code: int
) -> None:
    """Full ones and closed ones: 2 where the result could not be given."""
    if out == "out":
        out = str(tmp_path / "out")
    with Command(tmp_path, *arguments, out=out, err=err) as command:
        assert command.wait() == code
        if err is None:
            assert command.err.startswith("error: standard output cannot be written")


@pytest.mark.parametrize("arguments", [("doctor",), ("settings", "--json")])
def test_a_reader_that_goes_away_changes_nothing(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """As `head -1` does."""
    os.mkfifo(tmp_path / "out")
    with Command(tmp_path, *arguments, out=str(tmp_path / "out")) as command:
        with (tmp_path / "out").open() as reader:
            reader.readline()
        assert command.wait() == 0, command.err
        assert not command.err


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [
        ("RLIMIT_NOFILE", 10, ("Too many open files", "ulimit -n")),
        ("RLIMIT_AS", 200_000 << 10, ("ulimit -v",)),
        # With which OpenBLAS asked for ever for what it did not get.
        pytest.param("RLIMIT_AS", 1_000_000 << 10, ("ulimit -v",), marks=pytest.mark.long),
    ],
)
def test_what_the_system_refuses_is_a_sentence(tmp_path: Path, limit: str, value: int, words: tuple[str, ...]) -> None:
    """Files and memory: which limit it was and how it is raised, and not a damaged model or video."""
    bench = ("bench", "builtin:classifier", "--seconds", "0.1")
    with Command(tmp_path, *bench, limits={limit: value}, fresh=True) as command:
        code = command.wait()
        assert "Traceback" not in command.err
        if code:  # a machine may do with less memory
            assert code == 2
            assert all(word in command.err for word in words), command.err


def in_a_namespace(folder: Path, mount: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command after `mount` in a mount namespace of its own; skips where that is not allowed."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("only root may make mount namespaces here")
    script = f'{mount} && exec {sys.executable} -m framepace "$@"'
    command = ["unshare", "--mount", "bash", "-c", script, "bash", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S)


@pytest.mark.long
@pytest.mark.parametrize("mount", ["mount -t tmpfs -o size=64k none /dev/shm", "mount -t tmpfs -o ro none /dev/shm"])
def test_pictures_for_other_processes_need_no_dev_shm(tmp_path: Path, mount: str) -> None:
    """Neither room in it nor the right to write to it; it was a SIGBUS. A busy machine may miss the budget: code 1."""
    pictures = ("builtin:classifier@512x512", "--set", "backend=null", "--set", "strategy=processes", "--fps", "20")
    end = in_a_namespace(tmp_path, mount, "bench", *pictures, "--seconds", "0.5")
    assert end.returncode in (0, 1), end.stderr
    assert "p50" in end.stdout


@pytest.mark.long
def test_without_proc_there_is_a_sentence(tmp_path: Path) -> None:
    """Which says what is missing."""
    end = in_a_namespace(tmp_path, "mount -t tmpfs none /proc", "doctor")
    assert end.returncode == 2
    assert "mount /proc" in end.stderr
    assert "Traceback" not in end.stderr


@pytest.mark.long
def test_onnx_runtime_leaves_no_telemetry(tmp_path: Path) -> None:
    """Its own is switched off: no file of it in the user's folders."""
    environment = {**os.environ, "HOME": str(tmp_path / "home"), "FRAMEPACE_CACHE": str(tmp_path / "cache")}
    environment.pop("XDG_CACHE_HOME", None)
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    (tmp_path / "home").mkdir()
    command: Sequence[str] = (
        sys.executable, "-m", "framepace", "bench", "builtin:classifier", "--seconds", "0.1", "--out", "t",
    )  # fmt: skip
    subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=PATIENCE_S, check=False)
    assert (tmp_path / "t" / "meta.json").exists()
    assert not [path for path in (tmp_path / "home").rglob("*") if "onnxruntime" in path.name]
