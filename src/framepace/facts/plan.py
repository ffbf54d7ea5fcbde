"""The plan: everything that decides how models run on frames. People edit it as YAML."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from framepace.facts.base import Fact, Setting
from framepace.facts.batching import Batching as Batching
from framepace.facts.bounded import (
    NATIVE,
    Dimension,
    Hook,
    Location,
    Name,
    Native,
    Option,
    PositiveMilliseconds,
    Rate,
    Size,
    SmShare,
)
from framepace.facts.inputs import Inputs
from framepace.facts.postprocess import Post as Post
from framepace.facts.prepare import Prepare as Prepare
from framepace.facts.slowing import Slow

PLAN_FORMAT = "framepace.plan/2"

Calibration = Literal["percentile", "minmax", "entropy"]


class ModelPlan(Fact, frozen=True, kw_only=True):
    """One model and how it runs.

    `model` is a path or 'builtin:NAME'. `shapes` fixes dynamic inputs by name, batch dimension included; `size` is
    (height, width) of the image input, or 'native': every picture at its own; `inputs` says what goes into each by
    name. `graph_shapes` 'fixed' puts the plan's sizes into the file and folds what only computes shapes; every
    inference then has the largest batch.

    With `after` a model runs on what another found (`crop`): at most `crops` boxes per picture, of the classes
    `crop_names`.

    `threads` 0 leaves the number to the backend. `options` belong to the backend, which refuses the ones it does not
    know. `calibration` is a video or folder of pictures for precision 'int8'; `fp32_nodes` stay in FP32.

    `device` is 'cpu', 'cuda' or 'cuda:N' (None: the backend's own). On a GPU, `slots` are the requests a worker keeps
    in flight, so that copies overlap computation; `transfer` is how inputs and outputs travel ('device': not at all,
    after the first time); `graph` replays each inference as one CUDA graph; `sms` binds each worker to that many SMs;
    `stream` 'own' runs the kernels of a worker one after the other; 'slot' those of its requests in flight side by
    side, each with device memory of its own; 'shared' puts those of all workers on one stream, as code on the default
    stream does.
    """

    name: Name
    model: Annotated[Location, Setting(help="path, or builtin:NAME, or builtin:NAME@WIDTHxHEIGHT")]
    backend: Annotated[Hook, Setting(help="library that runs the model")] = "onnxruntime"
    precision: Annotated[
        Literal["fp32", "fp16", "bf16", "int8"],
        Setting(
            help="number format of the model: fp32, fp16, bf16 or int8",
            why="fewer bytes and faster arithmetic; outputs change slightly: check them",
        ),
    ] = "fp32"
    size: Annotated[
        Size | Native | None,
        Setting(
            help="WIDTHxHEIGHT of the image input, or native: every picture at its own size",
            why="the model leaves it open, or a smaller one is faster; the results change with it",
            why_value={"native": "no picture is resized; only pictures of one size share a batch"},
        ),
    ] = None
    shapes: dict[str, tuple[Dimension, ...]] = {}
    inputs: Inputs = Inputs()
    graph_shapes: Annotated[
        Literal["exported", "fixed"],
        Setting(
            "shapes",
            help="exported: as the file has them; fixed: computed once, for the plan's sizes",
            why_value={
                "fixed": "no node computes shapes: on a GPU none is left to the CPU; every batch has the largest size"
            },
        ),
    ] = "exported"
    batch: Batching = Batching()
    threads: Annotated[
        int,
        Meta(ge=0, le=4096),
        Setting(
            help="threads of the backend; 0: the backend decides",
            why="more: a model alone is faster; fewer: models, workers and decoding do not compete for cores",
        ),
    ] = 0
    spinning: Annotated[
        bool,
        Setting(
            help="whether idle threads of the backend spin",
            why_value={
                "off": "idle threads free their cores for decoding and other work; each inference has to wake them"
            },
        ),
    ] = True
    prepare: Prepare = Prepare()
    post: Post = Post()
    after: Annotated[
        Name | None,
        Setting(
            help="the model on whose boxes it runs; without one it runs on whole pictures",
            why="small things are seen large, and a picture without boxes costs nothing",
        ),
    ] = None
    crop: Annotated[
        Literal["boxes", "picture"],
        Setting(
            help="boxes: on each box that the model before found; picture: once where it found any",
            why_value={"picture": "pictures in which the model before finds nothing cost nothing"},
        ),
    ] = "boxes"
    crops: Annotated[
        Annotated[int, Meta(ge=1, le=1000)],
        Setting(help="boxes per picture that it runs on at most, the surest first", why="bounds what a picture costs"),
    ] = 16
    crop_names: Annotated[
        tuple[Location, ...],
        Setting(help="classes whose boxes it runs on, by name or number; all by default", why="others cost nothing"),
    ] = ()
    device: Annotated[
        Annotated[str, Meta(pattern=r"^(cpu|cuda(:\d+)?)$")] | None,
        Setting(help="cpu, cuda or cuda:N", why="where the model runs"),
    ] = None
    slots: Annotated[
        int,
        Meta(ge=1, le=8),
        Setting(
            help="requests a worker keeps in flight on a GPU",
            why="copies of one request overlap the kernels of others; each waits for those before it",
            why_value={"1": "no request waits behind another on the device; copies and kernels no longer overlap"},
        ),
    ] = 2
    transfer: Annotated[
        Literal["pinned", "pageable", "device"],
        Setting(
            help="pinned, pageable, or device: no copies",
            why_value={
                "pageable": "for comparison: copies from ordinary memory, slower than from pinned memory",
                "device": "for measuring only: the same input again and again, nothing is copied",
            },
        ),
    ] = "pinned"
    graph: Annotated[
        bool,
        Setting(
            help="replay each inference as one CUDA graph",
            why_value={"on": "many short kernels are launched at once: less host time per inference"},
        ),
    ] = False
    stream: Annotated[
        Literal["own", "slot", "shared"],
        Setting(
            help="own: a worker's kernels in turn; slot: those of its slots side by side; shared: all in turn",
            why_value={
                "slot": "short kernels fill the device without more threads; each slot needs memory of its own",
                "shared": "for comparison: like code on the default stream, where workers wait for each other",
            },
        ),
    ] = "own"
    sms: Annotated[
        SmShare | None,
        Setting(
            help="SMs each worker may use (green context), or a share of all: 50%",
            why="workers do not disturb each other; each has only a part of the device",
        ),
    ] = None
    nvtx: Annotated[
        bool, Setting(help="name the stages of each inference for NVIDIA's profilers (needs the package nvtx)")
    ] = False
    calibration: Annotated[
        Location | None,
        Setting(help="video or folder of pictures for precision int8", why="int8 needs frames like those it will see"),
    ] = None
    calibration_method: Annotated[
        Calibration,
        Setting(help="percentile, minmax or entropy: how INT8 finds ranges", why="minmax clips nothing, others a bit"),
    ] = "percentile"
    fp32_nodes: Annotated[
        tuple[Location, ...],
        Setting(help="nodes that stay in FP32, in fp16 and int8", why="what lower precision breaks; casts cost time"),
    ] = ()
    options: dict[str, Option] = {}

    @property
    def is_native(self) -> bool:
        """Whether every picture is run at its own size."""
        return self.size == NATIVE

    @property
    def one_size(self) -> tuple[int, int] | None:
        """(height, width) of all pictures, where the plan says one."""
        return self.size if isinstance(self.size, tuple) else None


# How a worker runs the models of a frame (see EnginePlan).
Strategy = Literal["workers", "serial", "threads", "processes", "asyncio", "asyncio-threads", "worker-processes"]


class EnginePlan(Fact, frozen=True, kw_only=True):
    """How workers, waiting and the interpreter are run.

    There are `workers` frames (or batches) in work at any time. `strategy` says how each is run: 'workers' by a thread
    that keeps several inferences in flight where the device allows it; 'worker-processes' the same in a process of its
    own, with its own models; 'serial' one model after the other; 'threads' each model on its own thread; 'processes'
    each model in its own process, frames in shared memory; 'asyncio' coroutines that call the blocking inference;
    'asyncio-threads' coroutines that hand it to threads.

    `decode` 'gpu' is a thread per source whose pictures are decoded by the video decoder of the first model's GPU and
    stay there; what that decoder does not take is decoded on the host, and told.

    `wait` says how a worker passes the time to the next due frame: 'sleep', 'hybrid' (sleep, then spin the last
    `spin_us`) or 'spin' (the whole gap). `keeper` pins the worker to a core beside a spinning process of SCHED_IDLE
    priority. `nice` is the priority of the whole process (-20 first, 19 last; None: as it was started).
    `heartbeat_ms` runs the model on its last input that often while waiting. `slow` makes one stage of every frame
    longer by a known time ('prepare:1.5', in ms). `finish` names a hook
    'module:function' that receives each frame's outputs.
    """

    workers: Annotated[
        Annotated[int, Meta(ge=1, le=1024)],
        Setting(
            help="workers that run inferences",
            why="several frames are processed at once; each worker needs its own memory",
        ),
    ] = 1
    strategy: Annotated[
        Strategy,
        Setting(
            help="how a worker runs the models of a frame",
            why_value={
                "serial": "for comparison: the models of a frame one after the other",
                "threads": "the models of a frame side by side; they share the interpreter's lock",
                "processes": "the models of a frame side by side without a common interpreter lock; more memory",
                "asyncio": "for comparison: coroutines around calls that block, one after the other",
                "asyncio-threads": "the models of a frame side by side, from code that awaits them",
                "worker-processes": "workers without a common interpreter lock; each loads all models again",
            },
        ),
    ] = "workers"
    decode: Annotated[
        Literal["thread", "inline", "gpu"],
        Setting(
            help="thread: decode in one thread per source; inline: in the worker; gpu: by the GPU's video decoder",
            why_value={
                "inline": "no hand-over between threads; decoding takes the worker's time",
                "gpu": "a quarter of the CPU time or less; with prepare-place=device pictures never leave the GPU",
            },
        ),
    ] = "thread"
    wait: Annotated[
        Literal["sleep", "hybrid", "spin"],
        Setting(
            help="how a worker waits: sleep, hybrid or spin",
            why_value={
                "sleep": "no CPU time while waiting; frames start late by the system's wake-up time",
                "spin": "no late wake-ups, no sleeping cores; each worker keeps one core busy",
            },
        ),
    ] = "hybrid"
    spin_us: Annotated[
        int,
        Meta(ge=0, le=10_000_000),
        Setting(
            help="length of the spin that ends a hybrid wait",
            why="as long as the machine oversleeps: shorter saves CPU time, longer starts frames on time",
        ),
    ] = 300
    keeper: Annotated[
        bool,
        Setting(
            help="keep the worker's core awake with an idle-priority process",
            why_value={"on": "the core does not sleep between frames and stays available to others; costs power"},
        ),
    ] = False
    heartbeat_ms: Annotated[
        PositiveMilliseconds | None,
        Setting(
            help="interval at which the model runs while waiting",
            why="clocks stay up and caches warm between frames; costs power",
        ),
    ] = None
    gc: Annotated[
        Literal["on", "off"],
        Setting(
            help="Python garbage collection while running",
            why_value={"off": "the interpreter does not pause while frames run; reference cycles are not freed"},
        ),
    ] = "on"
    lock_memory: Annotated[
        bool,
        Setting(
            help="lock pages in memory",
            why_value={"on": "no page faults while frames run; needs a locked-memory limit that allows it (ulimit -l)"},
        ),
    ] = False
    nice: Annotated[
        Annotated[int, Meta(ge=-20, le=19)] | None,
        Setting(
            help="priority of the process: -20 first, 19 last",
            why="runs before (or after) other processes on the machine; below 0 needs a privilege",
        ),
    ] = None
    slow: Annotated[
        Slow | None,
        Setting(
            help="STAGE:MILLISECONDS added to each frame: decode, prepare, infer or finish",
            why="for measuring only: shows what a millisecond in that stage is worth",
        ),
    ] = None
    finish: Annotated[
        Hook | None, Setting(help="module:function that receives the outputs", why="your own use of the outputs")
    ] = None


class SourcePolicy(Fact, frozen=True, kw_only=True):
    """What waits between a source and the workers: frames buffered per source, and what happens when it is full.

    `drop` 'never' makes the source wait (files), 'oldest' discards the oldest frame (live). `stale_ms` discards frames
    older than that when a worker takes them.
    """

    buffer: Annotated[
        Annotated[int, Meta(ge=1, le=65_536)],
        Setting(
            help="frames buffered per source",
            why="more: a short stall loses no frame; fewer: frames are younger when they are taken",
        ),
    ] = 2
    drop: Annotated[
        Literal["never", "oldest"],
        Setting(
            help="drop from a full buffer: never, or the oldest frame",
            why_value={"oldest": "a live stream stays live; dropped frames are counted"},
        ),
    ] = "never"
    stale_ms: Annotated[
        PositiveMilliseconds | None,
        Setting(
            help="discard frames older than this",
            why="such an old frame is not worth the work; dropped frames are counted",
        ),
    ] = None


class Target(Fact, frozen=True, kw_only=True):
    """What the plan must reach: frames per second of each source, and the latency p99 must stay under (ms)."""

    fps: Rate | None = None
    p99_ms: PositiveMilliseconds | None = None

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
