"""The workload: the load, the scope and the stop rule of one measurement."""

from __future__ import annotations

from itertools import cycle, islice
from typing import Annotated, Literal

from msgspec import Meta

from framepace.facts.base import Fact, Setting
from framepace.facts.bounded import Location, Milliseconds, Positive, Rate, Side
from framepace.values import LARGEST_SEED, LONGEST_TIME_S

Scope = Literal["model", "pipeline", "stream"]
SYNTHETIC = "synthetic"
MOST_CAMERAS = 4096
SHORTEST_RUN_S = 0.001
Seconds = Annotated[float, Meta(ge=SHORTEST_RUN_S, le=LONGEST_TIME_S)]


class _Load(Fact, frozen=True, kw_only=True, tag_field="kind"):
    """Base of the loads."""


class Closed(_Load, frozen=True, kw_only=True, tag="closed"):
    """Closed loop: `concurrency` requests are in flight at any time; each starts when an earlier one is delivered.

    None means one per worker.
    """

    concurrency: Annotated[
        Annotated[int, Meta(ge=1, le=65_536)] | None, Setting(help="closed loop with this many requests in flight")
    ] = None


class Delay(_Load, frozen=True, kw_only=True, tag="delay"):
    """Fixed delay: the next request is due `delay_ms` after the last was delivered, as in most scripts."""

    delay_ms: Annotated[Milliseconds, Setting(help="fixed delay after each request")]


class Paced(_Load, frozen=True, kw_only=True, tag="paced"):
    """`fps` requests per second on a fixed grid; `jitter` is the half-width of a uniform shift, in periods."""

    fps: Annotated[Rate, Setting(help="paced load at this rate")]
    jitter: Annotated[float, Meta(ge=0, le=0.5)] = 0.0


class Poisson(_Load, frozen=True, kw_only=True, tag="poisson"):
    """Independent arrivals, `fps` per second on average."""

    fps: Rate


class Burst(_Load, frozen=True, kw_only=True, tag="burst"):
    """`size` requests due together, `fps` per second on average."""

    fps: Rate
    size: Annotated[int, Meta(ge=1, le=65_536)] = 8


class Replay(_Load, frozen=True, kw_only=True, tag="replay"):
    """The due times of a recorded trace (its folder)."""

    trace: Location


class FileTimes(_Load, frozen=True, kw_only=True, tag="file"):
    """Each picture of a video file is due when the file shows it, again and again."""


OpenLoad = Paced | Poisson | Burst
Load = Closed | Delay | OpenLoad | Replay | FileTimes


class Stop(Fact, frozen=True, kw_only=True):
    """When a measurement ends: whichever of the limits that are set is met first.

    `precision` is the relative half-width wanted for the interval of the `percentile`; it is judged once `count_min`
    requests are in.
    """

    count: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None
    seconds: Seconds | None = None
    precision: Annotated[float, Meta(ge=1e-6, le=1)] | None = None
    percentile: Annotated[float, Meta(gt=0, lt=100)] = 50.0
    count_min: Positive = 100


def stop_after(seconds: float) -> Stop:
    """The stop rule for what is left of a time limit, which may be next to nothing."""
    return Stop(seconds=max(seconds, SHORTEST_RUN_S))


class Warmup(Fact, frozen=True, kw_only=True):
    """Warm-up ends when the medians of consecutive windows of `window` requests agree within `tolerance`."""

    window: Positive = 10
    tolerance: Annotated[float, Meta(gt=0, le=1000)] = 0.1
    seconds_max: Annotated[float, Meta(ge=0, le=LONGEST_TIME_S)] = 3.0


class Input(Fact, frozen=True, kw_only=True):
    """Where frames come from: video paths or stream addresses, or synthetic frames of `size` (height, width).

    `frames` bounds how many decoded frames are held in memory for the scopes 'model' and 'pipeline'. `cameras` is the
    number of sources; they take the videos in turn; None means one per video. In the scope 'model', where all frames
    are the same, it is how many loads there are, one without it.
    """

    videos: Annotated[tuple[Location, ...], Meta(max_length=MOST_CAMERAS)] = ()
    size: tuple[Side, Side] = (360, 640)
    frames: Annotated[Annotated[int, Meta(ge=1, le=1_000_000)], Setting(help="decoded frames held in memory")] = 64
    cameras: Annotated[
        Annotated[int, Meta(ge=1, le=MOST_CAMERAS)] | None,
        Setting(help="number of sources; they take the videos in turn"),
    ] = None

    @property
    def sources(self) -> tuple[str, ...]:
        """The video's path, stream's address or 'synthetic' that each source plays."""
        names = self.videos or (SYNTHETIC,)
        return tuple(islice(cycle(names), self.cameras or len(names)))


class Workload(Fact, frozen=True, kw_only=True):
    """One measurement: which part runs (`scope`), how requests arrive (`load`) and when it ends (`stop`)."""

    load: Load
    scope: Annotated[Scope, Setting(help="model, pipeline or stream")] = "stream"
    input: Input = Input()
    stop: Stop = Stop(seconds=10.0)
    warmup: Warmup = Warmup()
    seed: Annotated[int, Meta(ge=0, le=LARGEST_SEED), Setting(help="seed for the load and random inputs")] = 0


def load_fps(load: Load) -> float | None:
    """Mean arrivals per second of an open load; None for closed loops, fixed delays and replays."""
    if isinstance(load, OpenLoad):
        return load.fps
    return None
