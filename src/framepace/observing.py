"""Observing a program of the user's own, trying settings in it, and running it with them, without a change in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from framepace import values
from framepace.attaching.program import Observation, observe, run_program, whole_command
from framepace.attaching.settings import checked, launchable
from framepace.attaching.starting import START_LIMIT_S, Begun, unheard
from framepace.attaching.turns import Turns
from framepace.facts.plan import Target
from framepace.facts.programtrial import ProgramExplanation
from framepace.programtrials.trials import try_settings
from framepace.progress import Tell, silent

TRIAL_LIMIT_S = 120.0


def attach(
    command: Sequence[str],
    *,
    out: str | Path | None = None,
    fps: float | None = None,
    p99_ms: float | None = None,
    settings: Mapping[str, Any] | None = None,
    seconds: float | None = None,
    start_limit: float = START_LIMIT_S,
    overwrite: bool = False,
    begun: Begun | None = None,
) -> Observation:
    """Run a Python program unchanged, and record where each of its frames spends its time.

    The program and the processes that it starts load a probe of the standard library, which times the calls of cv2, av,
    PIL, onnxruntime, tensorrt, torch and tritonclient, sleeps, waits for queues, and collections. A frame begins where
    its picture is decoded and ends where the thread that inferred decodes or waits again.

    Args:
        command: as in a shell: ['python', 'app.py', '--camera', '0']; 'app.py' alone is run by this Python.
        out: folder the trace is written to; None keeps it in memory.
        fps: the rate that its frames must keep, if any.
        p99_ms: the latency (ms) that they must keep, if any.
        settings: that are applied in it, as `launch` does.
        seconds: from its first inference on, after which the program is ended, as by Ctrl-C.
        start_limit: seconds that it may take to its first inference, where `seconds` says when it is ended.
        begun: told once how many seconds it took to that.
        overwrite: replace a trace that is in `out`.

    Returns:
        The trace, whose subject is a program, its exit code, and how often each call was made.

    Raises:
        UsageError: the program cannot be started, or no inference of it was seen (`exit_code` is then the program's).
        StoreError: `out` cannot be written, or holds what must not be replaced.
    """
    folder = None if out is None else values.path(out, "out")
    chosen = launchable(values.mapping(settings or {}, "settings"))
    target = _target(fps, p99_ms)
    return observe(
        _command(command), folder, target, overwrite,
        settings=chosen, seconds=_seconds(seconds), start_limit=_start(start_limit), begun=begun or unheard,
    )  # fmt: skip


def explain_program(
    command: Sequence[str],
    *,
    tries: Sequence[Mapping[str, Any]] | None = None,
    fps: float | None = None,
    p99_ms: float | None = None,
    seconds: float | None = None,
    time_limit: float = TRIAL_LIMIT_S,
    start_limit: float = START_LIMIT_S,
    tell: Tell | None = None,
) -> ProgramExplanation:
    """Which settings make a program's frames faster or cheaper, proven by frames of it with and without each.

    What can be switched while the program runs takes turns in blocks of one run; for the others it runs again and
    again, on the same input if it reads the same, and must bear that.

    Args:
        command: see `attach`.
        tries: settings to try, one by one ({'spinning': 'off'}, or an environment variable or argument of the
            program's own: {'THREADS': 1}, {'--imgsz': 320}); None: those that fit the libraries that it calls.
        fps: the rate that its frames must keep, if any.
        p99_ms: the latency (ms) that they must keep, if any.
        seconds: from its first inference on, after which each run is ended, as by Ctrl-C; a program that reads a camera
            never ends by itself. None: when it has told what it is run for.
        time_limit: seconds for all runs. Until its first inference the first run and those in blocks are not counted.
        start_limit: seconds that each run may take to its first inference.
        tell: called before each run, and again once it has made its first inference.

    Returns:
        The program's numbers as it is, and the verdict on each setting, the confirmed first.

    Raises:
        UsageError: as `attach`; a setting that a program does not have.
    """
    target = _target(fps, p99_ms)
    whole = _command(command)
    length = _seconds(seconds)
    limit = values.number(time_limit, "time_limit", least=1.0, most=values.LONGEST_TIME_S)

    longest = _start(start_limit)

    def run(
        settings: Mapping[str, str], *, turns: Turns | None = None, seconds: float | None = None, begun: Begun = unheard
    ) -> Observation:
        return observe(
            whole, None, target, settings=settings, turns=turns, seconds=length or seconds or limit, quiet=True,
            start_limit=longest, begun=begun,
        )  # fmt: skip

    chosen = None if tries is None else [checked(values.mapping(one, "tries")) for one in tries]
    return try_settings(run, chosen, limit, tell or silent, length)


def launch(command: Sequence[str], settings: Mapping[str, Any]) -> int:
    """Run a program with settings applied in it, and nothing observed; its exit code.

    Args:
        command: see `attach`.
        settings: {'spinning': 'off'}, and environment variables in capitals.

    Returns:
        The program's exit code as a shell tells it: 128 + N for signal N.

    Raises:
        UsageError: the program cannot be started, or has no such setting.
    """
    code = run_program(_command(command), None, launchable(values.mapping(settings, "settings"))).code
    if code < 0:
        return 128 - code
    return code


def _command(command: Sequence[str]) -> list[str]:
    return whole_command([str(part) for part in values.several(command, "command")])


def _seconds(seconds: float | None) -> float | None:
    if seconds is None:
        return None
    return values.number(seconds, "seconds", least=0.1, most=values.LONGEST_TIME_S)


def _start(seconds: float) -> float:
    return values.number(seconds, "start_limit", least=0.1, most=values.LONGEST_TIME_S)


def _target(fps: float | None, p99_ms: float | None) -> Target:
    if fps is not None:
        fps = values.number(fps, "fps", least=values.LOWEST_RATE, most=values.HIGHEST_RATE)
    if p99_ms is not None:
        p99_ms = values.number(p99_ms, "p99_ms", least=values.SHORTEST_MS, most=values.LONGEST_MS)
    return Target(fps=fps, p99_ms=p99_ms)
