"""Starts somebody's program unchanged, observes it, and makes its calls a trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from msgspec.structs import replace

from framepace.attaching.answers import Answer
from framepace.attaching.calls import Calls, counts_of, pid_of, read_calls, read_facts, read_failures
from framepace.attaching.ending import Ended, waited_for
from framepace.attaching.keepers import kept_awake
from framepace.attaching.nothingseen import Seen, nothing_seen
from framepace.attaching.parts import lock_wait, parts_of, period
from framepace.attaching.requests import Observed, observed
from framepace.attaching.settings import variables, with_arguments
from framepace.attaching.starting import START_LIMIT_S, Begun, Start, unheard
from framepace.attaching.turns import Turns
from framepace.errors import UsageError
from framepace.facts.plan import Target
from framepace.facts.program import Program, without_secrets
from framepace.facts.trace import Stopped, Trace, TraceMeta
from framepace.facts.workload import Closed, Workload
from framepace.recording.host import host_sampler
from framepace.recording.machine import probe
from framepace.recording.recorder import Recorder, Writer
from framepace.recording.telemetry import Sink, Telemetry
from framepace.store import MemoryWriter, OutputFolder, TraceWriter, trace_id

HOOK = Path(__file__).parent / "injected"
"""The folder that stands first in the PYTHONPATH of an observed program."""
FOLDER_VARIABLE = "FRAMEPACE_ATTACH"
_Value = TypeVar("_Value")


def run_program(
    command: Sequence[str],
    folder: Path | None,
    settings: Mapping[str, str],
    seconds: float | None = None,
    quiet: bool = False,
    turns: Turns | None = None,
    start: Start | None = None,
) -> Ended:
    """Run a program with the probe in it.

    Its streams are this process's own. Signals that come to this process are left to the program, which the terminal
    sends them as well; a SIGTERM is passed on.

    Args:
        folder: where the probe writes; None: nothing is observed.
        settings: that are applied in it, checked (see `settings.checked`).
        seconds: after which it is interrupted, as by Ctrl-C, and killed where that does not end it.
        quiet: what it writes to its standard streams is thrown away.
        turns: other settings, which take turns while it runs.
        start: until its first inference, from when on the seconds count; None: they count from the begin.

    Raises UsageError where it cannot be started.
    """
    environment = _environment(folder, settings, turns)
    with kept_awake(settings, turns):
        process = _started(with_arguments(command, settings), environment, subprocess.DEVNULL if quiet else None)
        with _signals_left_to(process):
            return waited_for(process, seconds, start)


def _started(command: Sequence[str], environment: Mapping[str, str], output: int | None) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    except OSError as error:
        fix = "name it as you would in a shell: framepace attach -- python app.py"
        raise UsageError("the program cannot be started", got=f"{command[0]}: {error.strerror}", fix=fix) from error


def _environment(folder: Path | None, settings: Mapping[str, str], turns: Turns | None) -> dict[str, str]:
    paths = [str(HOOK), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **variables(settings)}
    if turns is not None:
        environment |= turns.variables()
    if folder is not None:
        environment[FOLDER_VARIABLE] = str(folder)
    return environment


@contextmanager
def _signals_left_to(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """This process outlives its signals, to write what was seen; only the main thread may handle them in Python."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    handlers: dict[int, Any] = {signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: pass_on, signal.SIGHUP: pass_on}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def whole_command(command: Sequence[str]) -> list[str]:
    """The command to start: a Python file is run by the Python that runs framepace. Raises UsageError for none."""
    if not command:
        fix = "framepace attach -- python app.py"
        raise UsageError("no program was named", got="nothing after --", expected="a command", fix=fix)
    if command[0].endswith(".py"):
        return [sys.executable, *command]
    return list(command)


@dataclass(frozen=True)
class Observation:
    """A program that ended: its trace, and its exit code as a shell tells it (128 + N for signal N).

    `calls` says how often each call was made, by name ('time.sleep'); `answers` are those to its models' first inputs;
    `refused` says why a setting could not be switched, by its name; `by_time`: it was ended because its time was over.
    `starting` is how long it took to the end of its first inference, s.
    """

    trace: Trace
    exit_code: int
    calls: Mapping[str, int]
    answers: tuple[Answer, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    by_time: bool = False
    starting: float = 0.0


def observe(
    command: Sequence[str],
    folder: Path | None,
    target: Target,
    overwrite: bool = False,
    *,
    settings: Mapping[str, str] | None = None,
    seconds: float | None = None,
    quiet: bool = False,
    turns: Turns | None = None,
    start_limit: float = START_LIMIT_S,
    begun: Begun = unheard,
) -> Observation:
    """Run a program to its end and record it.

    Args:
        folder: where the trace goes; None keeps it in memory.
        settings, quiet, turns: see `run_program`.
        seconds: from its first inference on, after which it is ended; None: it ends by itself.
        start_limit: seconds to its first inference, after which it is ended if it would be after `seconds`.
        begun: told once when that came.
        target: the rate and latency that its frames must keep, if any.
        overwrite: replace a trace that is in `folder`.

    Raises UsageError where the program cannot be started, NothingSeen where no inference of it was seen, and StoreError
    where `folder` cannot be written.
    """
    meta = _meta(command, target)
    with ExitStack() as stack:
        probed = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="framepace-attach-")))
        recorder = Recorder(_writer(folder, meta, overwrite, stack), lambda sink: _telemetry(sink, probed))
        with recorder:
            start = Start(probed, None if seconds is None else start_limit, begun)
            ended = run_program(command, probed, settings or {}, seconds, quiet, turns, start)
            starting = start.seconds() or 0.0
            processes = list(read_calls(probed))
            seen = Seen(list(read_facts(probed)), read_failures(probed), counts_of(processes))
            frames = observed(processes)
            recorder.sink(frames.packed())
        trace = recorder.close(_described(meta, ended, processes, frames))
    if not len(frames):
        raise nothing_seen(command, ended, seen, start_limit)
    answers = tuple(answer for calls in processes for answer in calls.facts.answers)
    refused = _joined(calls.facts.refused for calls in processes)
    return Observation(trace, ended.exit_code, counts_of(processes), answers, refused, ended.by_time, starting)


def _writer(folder: Path | None, meta: TraceMeta, overwrite: bool, stack: ExitStack) -> Writer:
    if folder is None:
        return MemoryWriter(meta)
    output = stack.enter_context(OutputFolder(folder, "trace", overwrite))
    return TraceWriter(output.path, meta, claimed=output)


def _telemetry(sink: Sink, folder: Path) -> Telemetry:
    """The machine beside the program, and the processes of it that are observed."""

    def pids() -> list[int]:
        numbers = {pid_of(path) for path in folder.glob("*.events")}
        return [number for number in numbers if number is not None]

    return Telemetry(sink, samplers=[host_sampler(pids)])


def _meta(command: Sequence[str], target: Target) -> TraceMeta:
    return TraceMeta(
        id=trace_id(),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        machine=probe(),
        models=(),
        subject_program=Program(command=without_secrets(command), folder=Path.cwd().name, target=target),
        workload=Workload(load=Closed()),
        framepace=version("framepace"),
    )


def _described(meta: TraceMeta, ended: Ended, processes: Sequence[Calls], frames: Observed) -> TraceMeta:
    """The meta of a program that has ended."""
    assert isinstance(meta.subject, Program)
    program = _with_parts(replace(meta.subject, names=frames.models), processes)
    notes = tuple(dict.fromkeys(note for calls in processes for note in calls.facts.notes))
    return replace(
        meta,
        machine=replace(meta.machine, libraries=program.libraries),
        subject_program=program,
        sources=frames.sources,
        stopped=_stopped(ended),
        notes=(*notes, *_ending(ended)),
    )


def _with_parts(program: Program, processes: Sequence[Calls]) -> Program:
    """What the processes said of themselves, and what their frames consist of."""
    facts = [calls.facts for calls in processes]
    return replace(
        program,
        libraries=_joined(one.libraries for one in facts),
        sessions=_joined(one.sessions for one in facts),
        threads=_joined(one.threads for one in facts),
        parts=parts_of(processes),
        lock_wait=lock_wait(processes),
        period=period(processes),
    )


def _joined(dictionaries: Iterable[Mapping[str, _Value]]) -> dict[str, _Value]:
    return {name: value for one in dictionaries for name, value in one.items()}


def _stopped(ended: Ended) -> Stopped:
    if ended.by_time:
        return "finished"
    if ended.code in (-signal.SIGINT, 128 + signal.SIGINT):
        return "interrupted"
    return "killed" if ended.code < 0 else "finished"


def _ending(ended: Ended) -> Iterator[str]:
    if ended.by_time:
        yield "the program was ended because its time was over"
    elif ended.code < 0:
        yield f"the program was ended by {signal.Signals(-ended.code).name}"
    elif ended.code > 0:
        yield f"the program ended with exit code {ended.code}"
