"""Observing a program of the user's own, without a change in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from framepace import values
from framepace.attaching.program import Observation, observe, whole_command
from framepace.facts.plan import Target


def attach(
    command: Sequence[str],
    *,
    out: str | Path | None = None,
    fps: float | None = None,
    p99_ms: float | None = None,
    overwrite: bool = False,
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
        overwrite: replace a trace that is in `out`.

    Returns:
        The trace, whose subject is a program, and its exit code.

    Raises:
        UsageError: the program cannot be started, or no inference of it was seen (`exit_code` is then the program's).
        StoreError: `out` cannot be written, or holds what must not be replaced.
    """
    texts = [str(part) for part in values.several(command, "command")]
    if fps is not None:
        fps = values.number(fps, "fps", least=values.LOWEST_RATE, most=values.HIGHEST_RATE)
    if p99_ms is not None:
        p99_ms = values.number(p99_ms, "p99_ms", least=values.SHORTEST_MS, most=values.LONGEST_MS)
    folder = None if out is None else values.path(out, "out")
    return observe(whole_command(texts), folder, Target(fps=fps, p99_ms=p99_ms), overwrite)
