"""The numbers of traces and comparisons, with their intervals, ready for any renderer."""

from __future__ import annotations

from typing import Literal

from framepace.facts.base import Fact
from framepace.facts.device import DeviceSummary
from framepace.facts.failure import TOO_MANY, Failure
from framepace.facts.served import Served

TierKind = Literal["level", "ramp"]
Coincidence = Literal[
    "gc",
    "page faults",
    "decode",
    "backlog",
    "preempted",
    "neighbours",
    "pacer",
    "throttled",
    "disk",
    "batch",
    "clocks",
    "device",
    "computing",
    "blocked",
]
Verdict = Literal["faster", "slower", "same", "undecided"]


LATE_ALLOWED = 0.01
"""The share of frames that may be late where a p99 is to keep a budget."""


class Estimate(Fact, frozen=True, kw_only=True):
    """A number with its interval; `low`/`high` are None when the samples do not carry one."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the interval; the value twice where there is none."""
        if self.low is None or self.high is None:
            return self.value, self.value
        return self.low, self.high


class Percentile(Fact, frozen=True, kw_only=True):
    """A latency percentile in ns, or the reason why there is none.

    `effective` is how many independent requests carry as much information on it, 0 where nobody counted;
    `confidence` that of its interval.
    """

    q: float
    estimate: Estimate | None
    refused: str | None = None
    effective: int = 0
    confidence: float = 0.99


class StageShare(Fact, frozen=True, kw_only=True):
    """One stage of a frame: median, mean and p99 in ns, `share` of the mean latency."""

    name: str
    median: float
    mean: float
    p99: float
    share: float


class Tier(Fact, frozen=True, kw_only=True):
    """A stretch of requests at one latency level (or a ramp between two), with other measurements of that time.

    `first` and `last` are request numbers of the series, `last` inclusive. `level` and `level_end` are in ns. `beside`
    holds medians such as 'sm_clock_mhz', 'cpu_mhz', 'gap' over the stretch; `percentiles` are those of a level.
    """

    kind: TierKind
    first: int
    last: int
    level: float
    level_end: float
    beside: dict[str, float] = {}
    percentiles: tuple[Percentile, ...] = ()


class Outlier(Fact, frozen=True, kw_only=True):
    """One request far above its tier, and what coincided with it ('' for nothing that was measured).

    `stage` is the stage that took most more than usual in that tier, `more` how much more, ns; '' in older files.
    """

    request: int
    latency: float
    excess: float
    coincides: Coincidence | Literal[""]
    stage: str = ""
    more: float = 0.0


class ModelSummary(Fact, frozen=True, kw_only=True):
    """One model of a trace: counts, percentiles, stages, tiers and outliers.

    `effective` is how many independent requests carry as much information on the median. `parts` splits the mean of
    'infer' where device times were measured: h2d, compute, d2h and host, ns.
    """

    model: str
    requests: int
    effective: int
    warmup: int
    outcomes: dict[str, int]
    causes: dict[str, int]
    mean: float
    percentiles: tuple[Percentile, ...]
    stages: tuple[StageShare, ...]
    tiers: tuple[Tier, ...]
    outliers: tuple[Outlier, ...]
    outlier_share: float
    cpu: float
    marks: dict[str, int] = {}
    parts: dict[str, float] = {}

    def percentile(self, q: float) -> Percentile | None:
        """The percentile `q` (0-100) if it was computed."""
        return next((p for p in self.percentiles if p.q == q), None)


class Cost(Fact, frozen=True, kw_only=True):
    """The resources that a run used; None where they were not measured.

    `startup` is the time before the load began, ns; `models` the time each model was at work, from taking a batch to
    delivering it, added up, ns; `computing` the CPU time of the threads that ran them, ns. `together` is how many
    models were at work on average while any was, `busy` the share of the wall time in which one was. `cores` is the
    CPU time per second of all processes, `waiting` how many of their threads waited for a core on average. `lock_wait`
    is how long the thread of a worker was off its core for an inference without waiting for a core, a device or a hook,
    and so waited for the interpreter lock that it shares, ns; None where it waits for others too. `memory` is
    the peak of the resident memory of all processes (shared pages count in each), `device_memory` the peak in use on
    the device, by anybody; bytes.
    `memory_growth` and `device_memory_growth` are from the first quarter of the measured time to its last; bytes.
    """

    startup: float | None = None
    models: dict[str, float] = {}
    computing: float | None = None
    together: float = 0.0
    busy: float = 0.0
    cores: float | None = None
    waiting: float | None = None
    lock_wait: float | None = None
    memory: float | None = None
    device_memory: float | None = None
    memory_growth: float | None = None
    device_memory_growth: float | None = None


class Summary(Fact, frozen=True, kw_only=True):
    """A trace in numbers. Times in ns, `throughput` in frames per second, `process_cpu` in ns of CPU time per frame.

    `padding` is the share of the work that was on frames that were not there, by model that runs fixed batch sizes
    only; `frames` summarises whole frames (all models of a frame together: from due to the last delivery). `failed` is
    the share of the frames that failed, those of the warm-up included, and `failure` says why the first one did. `late`
    is `missed` with its 95 % interval, from the effective samples of lateness itself.
    `served` is what servers say of their models.
    """

    trace: str
    scope: str
    seconds: float
    throughput: float
    budget: float | None
    missed: float | None
    process_cpu: float | None
    neighbours_cpu: float | None
    pacer_error: dict[str, float]
    frames: ModelSummary
    models: tuple[ModelSummary, ...]
    telemetry: dict[str, float] = {}
    devices: tuple[DeviceSummary, ...] = ()
    cost: Cost | None = None
    padding: dict[str, float] = {}
    notes: tuple[str, ...] = ()
    failed: float = 0.0
    failure: Failure | None = None

    late: Estimate | None = None
    served: tuple[Served, ...] = ()

    @property
    def fails(self) -> bool:
        """Whether so many frames failed that this is the first thing to say."""
        return self.failed > TOO_MANY

    @property
    def met(self) -> bool | None:
        """Whether at most one frame in a hundred is late; None without a budget, or when too few frames decide it.

        Decided when the whole interval of the share of late frames is on one side, or when more than half came late.
        Never met where too many failed.
        """
        if self.budget is None:
            return None
        if self.fails or (self.missed or 0.0) > 0.5:
            return False
        if self.late is None:
            return self._met_by_percentiles(self.budget)
        if self.late.low is not None and self.late.low > LATE_ALLOWED:
            return False
        if self.late.high is not None and self.late.high <= LATE_ALLOWED:
            return True
        return None

    def _met_by_percentiles(self, budget: float) -> bool | None:
        """The same from the highest percentile up to p99: summaries of older versions have no interval of `missed`."""
        answered = [p for p in self.frames.percentiles if p.estimate is not None and p.q <= 99]
        if not answered:
            return None
        highest = max(answered, key=lambda p: p.q)
        low, high = (highest.estimate or Estimate(value=0.0)).interval
        if low > budget:
            return False
        if high <= budget and highest.q >= 99:
            return True
        return None


class Difference(Fact, frozen=True, kw_only=True):
    """Something that is not the same in two traces, as text; `kind` is library, setting, workload, model, machine,
    clock or memory.
    """

    kind: str
    name: str
    a: str
    b: str


class LayerChange(Fact, frozen=True, kw_only=True):
    """A layer's time in two traces, ns; 0 where one has no such layer."""

    model: str
    name: str
    a: float
    b: float


class Comparison(Fact, frozen=True, kw_only=True):
    """Two traces against each other; `verdict` is that on B against A.

    `ratio` is B/A of the median latency with its interval; `stages` the difference of means in ns by stage. `layers`
    are those that changed most, where both traces have them. `difference` is B - A of the medians, ns, with the
    interval of the ratio; `tiers_a` and `tiers_b` are the levels of each whole trace. `logged` says that one of them is
    the log of another program, which does not say how it was made.
    """

    a: str
    b: str
    verdict: Verdict
    reason: str
    ratio: Estimate
    p99_ratio: Estimate | None
    stages: dict[str, float]
    threshold: float
    differences: tuple[Difference, ...] = ()
    layers: tuple[LayerChange, ...] = ()
    difference: Estimate | None = None
    tiers_a: tuple[Tier, ...] = ()
    tiers_b: tuple[Tier, ...] = ()
    logged: bool = False
