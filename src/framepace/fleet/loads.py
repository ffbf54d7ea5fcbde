"""What a source asks of a place: from how it stands, else from its file, else what a camera usually asks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from framepace.errors import FramepaceError
from framepace.facts.plan import Plan
from framepace.facts.running import SourceSpec, SourceStatus
from framepace.fleet.capacities import Reference
from framepace.fleet.placing import Load
from framepace.video.file import VideoFile
from framepace.video.history import sides

_USUAL = Reference(fps=30.0, size=(360, 640))


def reference_of(plan: Plan, specs: Sequence[SourceSpec]) -> Reference:
    """The camera that capacities are counted in: the first source whose file says how fast and large it is."""
    for path in dict.fromkeys(spec.address.removeprefix("file://") for spec in specs):
        reference = of_file(path, plan)
        if reference is not None:
            return reference
    return Reference(plan.target.fps or _USUAL.fps, _USUAL.size)


def of_file(path: str, plan: Plan) -> Reference | None:
    """Rate and size of a video file; None where the path is none, or cannot be read here."""
    if "://" in path or not Path(path).is_file():
        return None
    try:
        file = VideoFile(path, loop=False)
    except FramepaceError:
        return None
    size = sides(file.read())
    file.close()
    return Reference(file.fps or plan.target.fps or _USUAL.fps, size)


def load_of(spec: SourceSpec, status: SourceStatus | None, expected: Reference) -> Load:
    """What a source asks per second; nothing more after its end."""
    every = 1
    if spec.every != "adaptive":
        every = spec.every
    if status is None or status.fps_in is None or status.size is None:
        fps = expected.fps
        height, width = expected.size
    elif status.state == "ended":
        return Load(0.0)
    else:
        fps = max(status.fps_in, _least(expected))
        height, width = status.size
    return Load(fps / every, fps * height * width)


def _least(expected: Reference) -> float:
    """A source that is slow for a moment, as when it was moved, is not taken for one that asks for little."""
    return expected.fps / 2
