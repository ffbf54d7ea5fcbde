"""The plan: everything that decides how models run on frames. People edit it as YAML."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from framepace.facts.base import Fact

PLAN_FORMAT = "framepace.plan/2"

Positive = Annotated[int, Meta(ge=1)]
NonNegative = Annotated[float, Meta(ge=0)]
PositiveNumber = Annotated[float, Meta(gt=0)]
Size = tuple[Positive, Positive]
Option = str | int | float | bool


class Prepare(Fact, frozen=True, kw_only=True):
    """How a frame (uint8, RGB, height x width x 3) becomes a model input.

    value = (pixel * scale - mean) / std, per channel, after the resize. `constant` replaces the whole step by a
    tensor made once, which is how its cost is proven. `place` 'graph' folds the arithmetic into the model: its input
    becomes uint8, a quarter of the bytes, and the host only resizes.
    """

    resize: Literal["stretch", "letterbox"] = "stretch"
    colour: Literal["rgb", "bgr", "gray"] = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: Literal["nchw", "nhwc"] | None = None
    pad_value: Annotated[int, Meta(ge=0, le=255)] = 114
    hook: str | None = None
    constant: bool = False
    place: Literal["host", "graph"] = "host"


class Batching(Fact, frozen=True, kw_only=True):
    """How many frames share an inference, and how long the oldest may wait for company.

    `policy` 'window': up to `window_ms` after it was due. 'deadline': while the device is busy and the target's budget,
    less what the batch was measured to cost, allows; batches of `sizes` that suit the hardware are then preferred.

    Where each size has to be set up (CUDA graphs, searched algorithms), `prepared_sizes` are set up and others padded.
    """

    max: Positive = 1
    window_ms: NonNegative = 0.0
    policy: Literal["window", "deadline"] = "window"
    sizes: tuple[Positive, ...] = ()

    @property
    def prepared_sizes(self) -> tuple[int, ...]:
        """`sizes` and the largest; where none are given, powers of two up to the largest."""
        given = self.sizes or tuple(2**power for power in range(self.max.bit_length()))
        return tuple(sorted({size for size in given if size < self.max} | {self.max}))


class ModelPlan(Fact, frozen=True, kw_only=True):
    """One model and how it runs.

    `model` is a path or 'builtin:NAME'. `shapes` fixes dynamic inputs by name, batch dimension included; `size` is
    (height, width) of the image input. `threads` 0 leaves the number to the backend. `options` belong to the backend,
    which refuses the ones it does not know. `calibration` is a video or folder of pictures for precision 'int8'.

    `device` is 'cpu', 'cuda' or 'cuda:N' (None: the backend's own). On a GPU, `slots` are the requests a worker keeps
    in flight, so that copies overlap computation; `transfer` is how inputs and outputs travel ('device': not at all,
    after the first time); `graph` replays each inference as one CUDA graph; `sms` binds each worker to that many SMs;
    `stream` 'shared' puts the kernels of all workers on one stream, as code on the default stream does.
    """

    name: str
    model: str
    backend: str = "onnxruntime"
    precision: Literal["fp32", "fp16", "bf16", "int8"] = "fp32"
    size: Size | None = None
    shapes: dict[str, tuple[Positive, ...]] = {}
    batch: Batching = Batching()
    threads: Annotated[int, Meta(ge=0)] = 0
    spinning: bool = True
    prepare: Prepare = Prepare()
    device: Annotated[str, Meta(pattern=r"^(cpu|cuda(:\d+)?)$")] | None = None
    slots: Annotated[int, Meta(ge=1, le=8)] = 2
    transfer: Literal["pinned", "pageable", "device"] = "pinned"
    graph: bool = False
    stream: Literal["own", "shared"] = "own"
    sms: Positive | None = None
    calibration: str | None = None
    options: dict[str, Option] = {}


# How a worker runs the models of a frame (see EnginePlan).
Strategy = Literal["workers", "serial", "threads", "processes", "asyncio", "asyncio-threads", "worker-processes"]


class EnginePlan(Fact, frozen=True, kw_only=True):
    """How workers, waiting and the interpreter are run.

    There are `workers` frames (or batches) in work at any time. `strategy` says how each is run: 'workers' by a thread
    that keeps several inferences in flight where the device allows it; 'worker-processes' the same in a process of its
    own, with its own models; 'serial' one model after the other; 'threads' each model on its own thread; 'processes'
    each model in its own process, frames in shared memory; 'asyncio' coroutines that call the blocking inference;
    'asyncio-threads' coroutines that hand it to threads.

    `wait` says how a worker passes the time to the next due frame: 'sleep', 'hybrid' (sleep, then spin the last
    `spin_us`) or 'spin' (the whole gap). `keeper` pins the worker to a core beside a spinning process of SCHED_IDLE
    priority. `nice` is the priority of the whole process (-20 first, 19 last; None: as it was started).
    `heartbeat_ms` runs the model on its last input that often while waiting. `finish` names a hook
    'module:function' that receives each frame's outputs.
    """

    workers: Positive = 1
    strategy: Strategy = "workers"
    decode: Literal["thread", "inline"] = "thread"
    wait: Literal["sleep", "hybrid", "spin"] = "hybrid"
    spin_us: Annotated[int, Meta(ge=0)] = 300
    keeper: bool = False
    heartbeat_ms: PositiveNumber | None = None
    gc: Literal["on", "off"] = "on"
    lock_memory: bool = False
    nice: Annotated[int, Meta(ge=-20, le=19)] | None = None
    finish: str | None = None


class SourcePolicy(Fact, frozen=True, kw_only=True):
    """What waits between a source and the workers: frames buffered a source, and what happens when it is full.

    `drop` 'never' makes the source wait (files), 'oldest' discards the oldest frame (live). `stale_ms` discards frames
    older than that when a worker takes them.
    """

    buffer: Positive = 2
    drop: Literal["never", "oldest"] = "never"
    stale_ms: PositiveNumber | None = None


class Target(Fact, frozen=True, kw_only=True):
    """What the plan must reach: frames a second a source, and the latency p99 must stay under (ms)."""

    fps: PositiveNumber | None = None
    p99_ms: PositiveNumber | None = None

    @property
    def budget_ms(self) -> float | None:
        """The frame budget in ms: the p99 target if set, else the frame period."""
        if self.p99_ms is not None:
            return self.p99_ms
        return None if self.fps is None else 1000 / self.fps


class Plan(Fact, frozen=True, kw_only=True):
    """Models, engine, sources, target, and what the plan rests on (trace ids, machine fingerprint)."""

    models: tuple[ModelPlan, ...]
    engine: EnginePlan = EnginePlan()
    source: SourcePolicy = SourcePolicy()
    target: Target = Target()
    format: str = PLAN_FORMAT
    machine: str | None = None
    traces: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the models, in the order in which they run."""
        return tuple(model.name for model in self.models)
