"""What is worth trying in a program, by what it loaded and what its frames consisted of. Pure."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from framepace.analyze.programcauses import WORKING, holds_the_lock, share_of
from framepace.facts.program import Program
from framepace.facts.trace import TraceMeta

_WORTH_A_TRIAL = 0.05  # of a frame
_CPU = "CPUExecutionProvider"


def usual_tries(meta: TraceMeta, in_blocks: bool) -> Iterator[dict[str, str]]:
    """The settings, one by one. `in_blocks`: what can be switched may be tried within one run, which costs less."""
    program = meta.subject
    assert isinstance(program, Program)
    cores = meta.machine.cores_logical
    yield from _of_threads(program, cores)
    if program.threads.get("cv2", 1) > cores and share_of(program, WORKING, "cv2.") >= _WORTH_A_TRIAL:
        yield {"opencv-threads": "1"}
    if share_of(program, ("between",), "time.sleep") >= _WORTH_A_TRIAL:
        yield from _of_gaps(program, in_blocks)
    if share_of(program, WORKING, "gc") >= _WORTH_A_TRIAL:
        yield {"collections": "off"}
    if holds_the_lock(program):
        yield {"switch-interval": "short"}


def _of_threads(program: Program, cores: int) -> Iterator[dict[str, str]]:
    """No spinning where idle threads spin; as many threads as cores where a model has more; one where it has fewer."""
    threads = [session.threads or cores for session in program.sessions.values()]
    torch = program.threads.get("torch", 1)
    spinning = any(session.spinning and session.threads != 1 for session in program.sessions.values())
    if (spinning or torch > 1) and cores > 1:
        yield {"spinning": "off"}
    most = max([*threads, torch])
    if most > cores:
        yield {"threads": str(cores)}
    elif most > 1:
        yield {"threads": "1"}


def _of_gaps(program: Program, in_blocks: bool) -> Iterator[dict[str, str]]:
    """What keeps the host, or a device, awake between frames."""
    yield {"sleep": "spin"}
    if in_blocks and sys.platform.startswith("linux"):
        yield {"awake": "on"}
    if any(session.providers and session.providers[0] != _CPU for session in program.sessions.values()):
        yield {"heartbeat": "on"}
