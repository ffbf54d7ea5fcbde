"""The situations of bench/reports.py: models, videos, hooks and loads made here, after what people reported."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from injections import heavy_video

from framepace import api
from framepace.facts.finding import Explanation
from framepace.facts.settings import Case
from framepace.facts.workload import Burst, Closed, Poisson

MS = 1_000_000
Settings = dict[str, Any]
IDEAL: Settings = {"backend": "simulated", "option.device": "ideal", "spinning": False, "option.gflops": 10.0}
_SLOW: Settings = {"option.device": "ideal", "spinning": False}
_BOARD: Settings = {"option.fp32_tflops": 0.4, "option.fp16_tflops": 0.6}
_CAMERA_S = 120
_REAL_LIMIT_S = 45.0


@dataclass(frozen=True)
class Situation:
    """A case, the time of its hooks (ns), its quota of cores, and what runs beside it; not virtual: in real time."""

    case: Case
    hook_ns: int = 0
    quota: float | None = None
    is_virtual: bool = True
    limit_s: float | None = None
    beside: Callable[[], AbstractContextManager[None]] | None = None


@dataclass(frozen=True)
class Report:
    """What was asked and where, the answer of a good engineer, the situation, and whether an explanation gives it.

    `refusal` is text of the error where the right answer is to refuse.
    """

    name: str
    link: str
    situation: str
    answer: str
    make: Callable[[Path], Situation]
    agrees: Callable[[Explanation], bool]
    refusal: str = ""


def first(*codes: str, setting: Settings | None = None, says: str = "") -> Callable[[Explanation], bool]:
    """Whether the first cause is one of `codes`, with that setting or text as its remedy."""

    def agrees(found: Explanation) -> bool:
        if not found.confirmed or found.confirmed[0].code not in codes:
            return False
        remedy = found.confirmed[0].remedy
        return remedy is not None and (setting or {}).items() <= remedy.plan.items() and says in remedy.text

    return agrees


def among(code: str, says: str) -> Callable[[Explanation], bool]:
    """Whether that cause is one of those confirmed, with that text in its remedy."""

    def agrees(found: Explanation) -> bool:
        remedies = [cause.remedy for cause in found.confirmed if cause.code == code]
        return any(remedy is not None and says in remedy.text for remedy in remedies)

    return agrees


def too_large(found: Explanation) -> bool:
    """Whether the model itself is said to exceed the budget, which is missed."""
    codes = [cause.code for cause in found.confirmed]
    return found.met is False and "FP102" in codes and found.bottleneck not in ("healthy", "unexplained")


def _null(ms: float = 2.0, settings: Settings | None = None, **load: Any) -> Case:
    """A model of that many ms in virtual time."""
    chosen = {"backend": "null", "option.latency_us": 1000 * ms, "option.noise": 0.05, **(settings or {})}
    return api.make_case("null", settings=chosen, **load)


def _simulated(settings: Settings, **load: Any) -> Case:
    return api.make_case("null", settings={**IDEAL, **settings}, **load)


def _network_on(model: str, settings: Settings, **load: Any) -> Case:
    return api.make_case(model, settings={"backend": "simulated", **settings}, **load)


def _virtual(make: Callable[[], Case], hook_ns: int = 0, quota: float | None = None) -> Callable[[Path], Situation]:
    return lambda folder: Situation(make(), hook_ns, quota)


def network(folder: Path, layers: int = 8, channels: int = 48, side: int = 192) -> str:
    """A chain of convolutions whose input has one size, in an ONNX file."""
    from onnx import TensorProto, helper, numpy_helper, save

    rng = np.random.default_rng(0)
    nodes, weights, before, width = [], [], "images", 3
    for layer in range(layers):
        weights.append(
            numpy_helper.from_array((rng.normal(size=(channels, width, 3, 3)) / 30).astype("f4"), f"w{layer}")
        )
        nodes.append(helper.make_node("Conv", [before, f"w{layer}"], [f"c{layer}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        before, width = f"r{layer}", channels
    nodes.append(helper.make_node("GlobalAveragePool", [before], ["y"]))
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, side, side])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, channels, 1, 1])
    return _saved(helper.make_graph(nodes, "chain", [image], [output], weights), folder / f"chain{layers}.onnx", save)


def any_batch_claimed(folder: Path) -> str:
    """A network that promises any batch and reshapes to one."""
    from onnx import TensorProto, helper, numpy_helper, save

    shape = numpy_helper.from_array(np.array([1, 3 * 32 * 32], "i8"), "shape")
    nodes = [helper.make_node("Reshape", ["images", "shape"], ["flat"]), helper.make_node("Relu", ["flat"], ["y"])]
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 32, 32])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3 * 32 * 32])
    return _saved(helper.make_graph(nodes, "claims", [image], [output], [shape]), folder / "claims.onnx", save)


def _saved(graph: Any, path: Path, save: Callable[[Any, str], None]) -> str:
    from onnx import helper

    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    save(model, str(path))
    return str(path)


def _of_one_size(folder: Path) -> Situation:
    return Situation(
        _network_on(network(folder), {**_SLOW, "option.fp32_tflops": 0.2, "option.fp16_tflops": 0.3}, fps=60)
    )


def _failing(folder: Path) -> Situation:
    settings = {"batch": 4, "threads": 1, "spinning": False}
    case = api.make_case(any_batch_claimed(folder), fps=30, settings=settings)
    return Situation(case, is_virtual=False, limit_s=_REAL_LIMIT_S)


def _decoding(folder: Path) -> Situation:
    settings = {"decode": "inline", "backend": "null", "option.latency_us": 25_000, "option.cpu": "sleep"}
    load = Closed(concurrency=1)
    case = api.make_case("null", videos=[heavy_video(folder)], fps=None, load=load, settings=settings)
    return Situation(case, is_virtual=False, limit_s=_REAL_LIMIT_S)


def _spinning(folder: Path) -> Situation:
    case = api.make_case("builtin:detector", fps=8, settings={"threads": 0, "spinning": True})
    return Situation(case, is_virtual=False, limit_s=60.0)


def _live(folder: Path) -> Situation:
    """A camera of 30 fps, and a model that takes 60 ms."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"backend": "null", "option.latency_us": 60_000, "option.cpu": "sleep", "drop": "never"}
    case = api.make_case("null", videos=[f"tcp://127.0.0.1:{port}"], fps=30, settings=settings)
    return Situation(case, is_virtual=False, limit_s=_REAL_LIMIT_S, beside=partial(camera, port))


@contextmanager
def camera(port: int) -> Iterator[None]:
    """A live stream on that port while it is entered."""
    command = [sys.executable, str(Path(__file__).with_name("report_camera.py")), str(port), str(_CAMERA_S)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()


_OURS = "found on the inputs of this project's own trial"
REPORTS: Sequence[Report] = (
    Report(
        "late frames in a crowd", "https://github.com/ultralytics/yolov5/issues/9268",
        "on a camera, suppression of boxes now and then exceeds its time limit; most frames are fine",
        "the frames with many boxes take long in post-processing: bound the candidates, or move the work away",
        _virtual(partial(_null, settings={"finish": "explain_hooks:crowded_finish"}, fps=30), hook_ns=22 * MS),
        first("FP017", says="finish hook"),
    ),
    Report(
        "one size, over the budget", _OURS,
        "60 fps wanted, the network alone takes longer, and its file has one input size",
        "the model exceeds the budget whatever is around it: lower precision, a smaller model, a faster device",
        _of_one_size, too_large,
    ),
    Report(
        "sixteen in flight", _OURS,
        "16 requests in flight take eight times as long as 2 at the same rate",
        "in flight / throughput = latency: keep as few in flight as the throughput needs",
        _virtual(partial(_null, 7.0, load=Closed(concurrency=16), fps=None)),
        first("FP018", says="in flight"),
    ),
    Report(
        "the picture falls behind", "https://github.com/ultralytics/ultralytics/issues/4211",
        "detection takes longer than the camera's period; frames are buffered and the video ends minutes behind",
        "drop what is old: only the newest picture matters",
        _live, first("FP021", setting={"drop": "oldest"}),
    ),
    Report(
        "batches that one camera never fills", _OURS,
        "batches of four with a window, one camera of 10 fps",
        "a batch never fills: batch 1",
        _virtual(partial(_null, settings={"batch": 4, "window-ms": 20}, fps=10)),
        first("FP019", setting={"batch": 1}),
    ),
    Report(
        "decoding in the loop", _OURS,
        "a loop that reads a picture, infers, and reads the next one; decoding takes most of it",
        "decode in a thread of its own",
        _decoding, among("FP022", says="decode=thread"),
    ),
    Report(
        "a batch that the file promises", _OURS,
        "an export with a dynamic batch axis and a fixed reshape inside; batches above 1 fail",
        "export with a dynamic batch, or batch=1",
        _failing, lambda found: False, refusal="batch",
    ),
    Report(
        "slower with pauses", "https://github.com/NVIDIA/TensorRT/issues/2107",
        "2 ms back to back, far longer with a sleep between inferences, on a desktop GPU",
        "the clocks fall while the GPU idles: lock them, or keep it busy",
        _virtual(partial(_network_on, "builtin:classifier", {"option.device": "t4"}, fps=10)),
        first("FP001"),
    ),
    Report(
        "half precision, intermittently", "https://github.com/pytorch/pytorch/issues/44504",
        "3 ms more per inference when 100 ms pass between two, at equal clocks",
        "the host sleeps in the gap and wakes slowly; spin or keep the core awake",
        _virtual(partial(_simulated, {"option.wake_us": 3000.0, "precision": "fp16"}, fps=10)),
        first("FP002"),
    ),
    Report(
        "cores burnt by waiting threads", "https://github.com/commaai/openpilot/issues/22736",
        "a small model a few times per second, and all cores at 100 %",
        "the thread pool of the library spins between inferences: turn spinning off",
        _spinning, first("FP013", setting={"spinning": False}),
    ),
    Report(
        "slow at every new shape", "https://github.com/microsoft/onnxruntime/issues/17443",
        "the first inference of each input shape takes ten times as long as those after it",
        "algorithms are chosen per shape: use one shape (pad), or choose without a search",
        _virtual(partial(_simulated, {"batch": 8, "option.new_size_ms": 50.0}, load=Poisson(fps=400), fps=None)),
        first("FP025", setting={"shapes": "fixed"}),
    ),
    Report(
        "shape operators on the CPU", "https://github.com/microsoft/onnxruntime/issues/17930",
        "dynamic axes: Shape, Gather and Concat run on the CPU, copies between, no CUDA graph possible",
        "export with, or put in, fixed shapes, and the nodes disappear",
        _virtual(partial(_simulated, {"option.shapes_us": 2500.0}, fps=30)),
        first("FP023", setting={"shapes": "fixed"}),
    ),
    Report(
        "a thousand launches per frame", "https://github.com/facebookresearch/sam2/issues/768",
        "the GPU works 7 ms of a frame of 54 ms; some 1,200 kernels are launched one at a time",
        "bound by launches: capture a CUDA graph",
        _virtual(
            partial(
                _simulated, {"option.kernels": 1185, "option.launch_us": 40.0, "option.gflops": 35.0}, fps=None,
                load=Closed(concurrency=1),
            )
        ),
        first("FP005", setting={"graph": True}),
    ),
    Report(
        "preparation takes twice the inference", "https://github.com/Megvii-BaseDetection/YOLOX/issues/280",
        "resizing and normalising on the CPU take two to eight times as long as the network",
        "preparation is the bottleneck: simplify it, or move it onto the device",
        _virtual(
            partial(_null, 5.0, settings={"prepare-hook": "explain_hooks:slow_hook"}, fps=30), hook_ns=12 * MS
        ),
        first("FP011", says="preparation"),
    ),
    Report(
        "too slow for the board", "https://github.com/ultralytics/yolov5/issues/53",
        "0.28 s per picture on a small board, 30 fps expected",
        "the network is too large for it: no setting of the program changes that by a factor of eight",
        _virtual(partial(_network_on, "builtin:resnet50@1280x704", {**_SLOW, **_BOARD}, fps=30)),
        too_large,
    ),
    Report(
        "a hundred requests at once", "https://github.com/triton-inference-server/server/issues/8094",
        "many pictures arrive together, one instance, and the last ones wait for all before them",
        "they queue behind each other: batches, then more instances",
        _virtual(partial(_null, settings={"option.batch_us": 150}, load=Burst(fps=60, size=16), fps=None)),
        first("FP018", setting={"batch": 8}),
    ),
    Report(
        "a container with a CPU limit", "https://github.com/huggingface/text-embeddings-inference/issues/170",
        "six times slower under a CPU quota although the machine is idle",
        "the quota is used up and the group is throttled: as many threads as the quota has, and none that spins",
        _virtual(partial(_null, 4.0, settings={"wait": "spin"}, fps=30), quota=0.6),
        first("FP027", setting={"wait": "sleep"}),
    ),
    Report(
        "recording stalls the picture", "https://github.com/RoboCup-SSL/ssl-vision/pull/193",
        "frames are written to disk as they come; now and then the camera's thread stutters",
        "the write blocks the loop: hand frames to a thread with a bounded queue",
        _virtual(partial(_null, settings={"finish": "explain_hooks:stalling_sink"}, fps=30), hook_ns=80 * MS),
        first("FP024", says="another thread or process"),
    ),
    Report(
        "pageable copies", "https://github.com/NVIDIA/TensorRT/issues/2907",
        "copies to and from the GPU take longer than the inference and vary",
        "the buffers are pageable: page-locked memory",
        _virtual(partial(_simulated, {"transfer": "pageable", "option.pageable_gb_s": 0.01}, fps=30)),
        first("FP006", setting={"transfer": "pinned"}),
    ),
    Report(
        "one or two of a thousand take 70 ms", "https://github.com/NVIDIA/TensorRT/issues/4382",
        "2 ms per inference, and in a thousand one or two take 70 ms; the clocks are locked",
        "single stalls of the host that nothing recorded coincides with: no cause can be proven from these",
        _virtual(
            partial(_simulated, {"option.jitter": 0.02, "option.stall_share": 0.0015, "option.stall_ms": 70.0}, fps=30)
        ),
        lambda found: not found.confirmed and found.late is not None,
    ),
)  # fmt: skip
