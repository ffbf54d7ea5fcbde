"""Running on live sources: which they are, what comes out for a frame, and how everything stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from msgspec import Meta

from framepace.facts.answers import Answer
from framepace.facts.base import Fact
from framepace.facts.bounded import Location, Milliseconds, Name

Pace = Literal["own", "free"]
"""'own': as its camera or its timestamps say; 'free': as fast as it can be read (files only)."""

SourceState = Literal["connecting", "live", "stale", "lost", "ended", "removed"]
"""'stale': connected, and no picture for a while; 'lost': it broke, and is tried again; 'ended': a file's end."""


class SourceSpec(Fact, frozen=True, kw_only=True):
    """A camera, a stream, a file or a folder of pictures.

    Attributes:
        name: unique among the sources of a run.
        address: of a stream (with '://'; ${NAME} stands for an environment variable), path of a file or folder,
            /dev/videoN, '-' for standard input, or 'synthetic'.
        pace: see Pace.
        loop: a file begins again at its end.
        every: only every so many frames are inferred; 'adaptive': as many as the budget allows.
        max_age_ms: a frame that would be older at the sinks is dropped; None: the plan's.
        priority: under overload the lowest go first.
        transport: of RTSP.
    """

    name: Name
    address: Location
    pace: Pace = "own"
    loop: bool = False
    every: Annotated[int, Meta(ge=1, le=10_000)] | Literal["adaptive"] = 1
    max_age_ms: Milliseconds | None = None
    priority: Annotated[int, Meta(ge=-1000, le=1000)] = 0
    transport: Literal["tcp", "udp"] = "tcp"


@dataclass(frozen=True, eq=False)
class Result:
    """What came out for one frame of one source; results of a source come in its order.

    Attributes:
        source: the name of the source.
        number: of the frame within its source, from 0; frames that were dropped or skipped leave gaps.
        time: when the picture was taken, in seconds since 1970, as far as its timestamps say.
        age_ms: how old it was when its answers were there.
        late: whether that was later than the plan's target.
        answers: by the name of the model.
        error: why there are no answers; None where all is well.
        picture: av.VideoFrame, or uint8 RGB [height, width, 3]; sinks hold it until they have written it, so it
            may not be written over.
    """

    source: str
    number: int
    time: float
    age_ms: float
    late: bool
    answers: Mapping[str, Answer]
    error: str | None = None
    picture: Any = field(default=None, repr=False)


AGE_BOUNDS_MS = (5, 10, 20, 33, 50, 75, 100, 150, 200, 300, 500, 1000, 2000, 5000)
"""Where the counts of `Ages` are divided."""


class Ages(Fact, frozen=True, kw_only=True):
    """How old the results of a source were, since it was added.

    Attributes:
        counts: of results no older than each of AGE_BOUNDS_MS and older than the bound before; the last one counts
            those beyond all bounds, [len(AGE_BOUNDS_MS) + 1].
        sum_ms: of all ages.
    """

    counts: tuple[int, ...]
    sum_ms: float


class BoxCounts(Fact, frozen=True, kw_only=True):
    """What became of the boxes of a source that a model runs on, of the classes it wants.

    Every one is in exactly one of `answered`, `failed` and `left_out` (over the model's limit per picture).
    """

    found: int = 0
    answered: int = 0
    failed: int = 0
    left_out: int = 0


class SourceStatus(Fact, frozen=True, kw_only=True):
    """How a source stands; rates and ages over the last seconds, counts since it was added.

    Every picture that was taken is in exactly one of `delivered`, `skipped`, `failed`, `waiting` and `dropped` (by the
    name of its facts.trace.DropCause).
    """

    name: str
    address: str  # without secrets
    state: SourceState
    taken: int
    delivered: int
    skipped: int
    failed: int
    waiting: int
    dropped: dict[str, int]
    late: int
    boxes: dict[str, BoxCounts] = {}  # by the models that run on them; of pictures that do not wait any more
    reconnections: int
    fps_in: float | None
    fps_out: float | None
    age_ms: float | None  # median of the last results
    p99_ms: float | None  # of their age
    size: tuple[int, int] | None  # (height, width) of its pictures
    every: int
    note: str = ""  # why it is not live, and what is wrong with what it sends
    ages: Ages | None = None
    engine: str | None = None  # the name of that which reads it, where there are several


class SinkStatus(Fact, frozen=True, kw_only=True):
    """How a sink stands. Every result is in exactly one of `written`, `dropped`, `failed` and `waiting`."""

    name: str
    written: int
    dropped: int
    failed: int
    waiting: int
    note: str = ""


class DeviceStatus(Fact, frozen=True, kw_only=True):
    """What a device or the host does: shares from 0 to 1, clocks in MHz, power in W; None where it is not known."""

    name: str
    use: float | None = None
    decoder_use: float | None = None
    memory_use: float | None = None
    clock_mhz: float | None = None
    power_w: float | None = None


EngineState = Literal["starting", "live", "lost", "refused", "ended"]
"""'lost': its process died or does not answer, and is started again; 'refused': the plan cannot run there."""


class EngineStatus(Fact, frozen=True, kw_only=True):
    """How one of several engines stands; frames are those inferred per second.

    Attributes:
        place: the host and the device.
        share: of its capacity, that its sources ask for; None where that is not known.
        predicted_ms: how old its results shall be (p99), said before its sources were placed.
        p99_ms: how old they are: the median over its sources.
        starts: how often it was started.
        note: why it is not live.
    """

    name: str
    place: str
    state: EngineState
    sources: int = 0
    frames: float | None = None
    capacity: float | None = None
    share: float | None = None
    predicted_ms: float | None = None
    p99_ms: float | None = None
    starts: int = 1
    note: str = ""


class RunStatus(Fact, frozen=True, kw_only=True):
    """How a run stands."""

    plan: tuple[str, ...]  # names of its models
    began: float  # seconds since 1970
    seconds: float
    target_ms: float | None
    sources: tuple[SourceStatus, ...]
    sinks: tuple[SinkStatus, ...] = ()
    devices: tuple[DeviceStatus, ...] = ()
    degraded: tuple[str, ...] = ()  # a sentence per measure that is in force against overload
    notes: tuple[str, ...] = ()
    engines: tuple[EngineStatus, ...] = ()  # where there are several
