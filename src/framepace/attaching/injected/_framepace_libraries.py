"""Which calls of which library are what: inference here, and OpenCV, which does everything. Standard library only."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from operator import itemgetter
from types import ModuleType
from typing import TYPE_CHECKING, Any

from _framepace_children import watch_children
from _framepace_decoders import DECODERS, Sources
from _framepace_device import Device
from _framepace_patching import owner_of, patch_each
from _framepace_timing import Numbers, looks_like
from _framepace_waits import WAITS

if TYPE_CHECKING:
    from _framepace_probe import Patch, Probe

_PREPARING = ("torchvision.transforms.", "kornia.")  # modules of torch that are no models
_OPENCV = {
    "VideoCapture.grab": "grab", "VideoCapture.set": "grab",  # parts of the next picture; setting its place seeks
    "resize": "prepare", "cvtColor": "prepare", "copyMakeBorder": "prepare", "warpAffine": "prepare",
    "warpPerspective": "prepare", "normalize": "prepare", "LUT": "prepare", "dnn.blobFromImage": "prepare",
    "imread": "decode", "imdecode": "decode",
    "imshow": "sink", "imwrite": "sink", "VideoWriter.write": "sink",
    "waitKey": "wait", "pollKey": "wait",
}  # fmt: skip
_OPENCV_MODELS = (  # what runs a network without `dnn.Net.forward`
    "dnn.Net.forward", "dnn.Net.forwardAndRetrieve", "dnn.Model.predict", "dnn.ClassificationModel.classify",
    "dnn.DetectionModel.detect", "dnn.KeypointsModel.estimate", "dnn.SegmentationModel.segment",
    "dnn.TextDetectionModel.detect", "dnn.TextDetectionModel.detectTextRectangles",
    "dnn.TextRecognitionModel.recognize", "FaceDetectorYN.detect", "FaceRecognizerSF.feature",
    "TrackerDaSiamRPN.update", "TrackerNano.update", "TrackerVit.update",
)  # fmt: skip


def _cv2(probe: Probe, cv2: ModuleType) -> None:
    captures = Sources(probe, "camera")
    captures.is_result = itemgetter(0)
    for name in ("read", "retrieve"):
        call = f"cv2.VideoCapture.{name}"
        probe.patch(getattr(cv2, "VideoCapture", None), name, "decode", call, captures)
    patch_each(probe, cv2, "cv2", _OPENCV)
    models = _Models(probe)
    for path in _OPENCV_MODELS:
        owner, name = owner_of(cv2, path)
        probe.patch(owner, name, "infer", f"cv2.{path}", models)


def _onnxruntime(probe: Probe, module: ModuleType) -> None:
    session = module.InferenceSession
    models = _Models(probe)
    session.__init__ = _loading(probe, session.__init__, models)
    for name in ("run_with_iobinding", "run_with_ort_values"):
        probe.patch(session, name, "infer", f"onnxruntime.InferenceSession.{name}", models)
    probe.patch(session, "run", "infer", "onnxruntime.InferenceSession.run", _Answering(probe, models))
    session.run_async = _called_back(probe, session.run_async, models)


def _called_back(probe: Probe, original: Callable[..., None], models: _Models) -> Callable[..., None]:
    """An inference that ends on a thread of the library, which calls the program back: a row of that thread."""
    number = probe.number_of("infer", "onnxruntime.InferenceSession.run_async")

    def run_async(
        self: Any, names: Any, feeds: Any, callback: Callable[..., Any], *others: Any, **options: Any
    ) -> None:
        begin = time.perf_counter_ns()

        def done(*results: Any) -> Any:
            probe.add_row(number, begin, time.perf_counter_ns(), models.number(self))
            return callback(*results)

        original(self, names, feeds, done, *others, **options)

    return run_async


class _Answering(Numbers):  # type: ignore[misc]
    """The numbers of sessions whose first answers are kept."""

    def __init__(self, probe: Probe, models: _Models) -> None:
        super().__init__()
        self._models = models
        self._answers = probe.answers
        self.known = models.known
        self.wanted = probe.answers.wanted

    def number(self, source: Any) -> int:
        """That of the session."""
        number: int = self._models.number(source)
        self._answers.expect(number)
        return number

    def keep(self, number: int, arguments: tuple[Any, ...], options: dict[str, Any], outputs: list[Any]) -> None:
        """The answer to an input."""
        feeds = arguments[2] if len(arguments) > 2 else options["input_feed"]
        self._answers.keep(number, feeds, outputs)


def _loading(probe: Probe, original: Callable[..., None], models: _Models) -> Callable[..., None]:
    """The constructor of a session, which names its model and keeps its options."""
    number = probe.number_of("load", "onnxruntime.InferenceSession")

    def __init__(self: Any, path_or_bytes: Any, *arguments: Any, **options: Any) -> None:
        begin = time.perf_counter_ns()
        original(self, path_or_bytes, *arguments, **options)
        probe.add_row(number, begin, time.perf_counter_ns())
        name = models.name(self, _stem(path_or_bytes, "model"))
        probe.answers.expect(models.known[id(self)])
        probe.sessions[name] = _session_facts(probe, self)

    return __init__


def _session_facts(probe: Probe, session: Any) -> dict[str, Any]:
    """What decides how a session uses the cores; 0 threads are as many as there are cores."""
    facts: dict[str, Any] = {}
    try:
        options = session.get_session_options()
        facts = {"threads": options.intra_op_num_threads, "spinning": True, "providers": session.get_providers()}
        facts["spinning"] = options.get_session_config_entry("session.intra_op.allow_spinning") != "0"
    except RuntimeError:  # no such entry: the library's own default
        pass
    except Exception as error:
        probe.note(f"the options of a session were not understood: {type(error).__name__}: {error}")
    return facts


class _Models(Numbers):  # type: ignore[misc]
    """Numbers of models, by the object that runs them."""

    def __init__(self, probe: Probe) -> None:
        super().__init__()
        self._probe = probe
        self._alive: dict[str, Any] = {}

    def name(self, model: Any, name: str) -> str:
        """Give a model its name; a second one of the same name has a number, unless the first is gone."""
        names = (name if n == 1 else f"{name} {n}" for n in itertools.count(1))
        free = next(text for text in names if self._is_free(text))
        self._alive[free] = _reference(model)
        self.known[id(model)] = self._probe.index(self._probe.models, free)
        return free

    def _is_free(self, name: str) -> bool:
        if name in self._alive:
            return self._alive[name]() is None
        return name not in self._probe.models

    def number(self, source: Any) -> int:
        """The number of a model."""
        if id(source) not in self.known:
            self.name(source, type(source).__name__)
        number: int = self.known[id(source)]
        return number


def _reference(model: Any) -> Callable[[], Any]:
    """A weak reference; where the object bears none, one that says that it lives."""
    try:
        return weakref.ref(model)
    except TypeError:
        return lambda: True


def _stem(path: Any, other: str) -> str:
    """The name of a file without its ending; `other` where it is none."""
    if isinstance(path, (str, os.PathLike)):
        return os.path.basename(os.fspath(path)).rpartition(".")[0] or other
    return other


def _tensorrt(probe: Probe, module: ModuleType) -> None:
    context = getattr(module, "IExecutionContext", None)
    models = _Models(probe)
    device = Device(probe)
    for name, place in (("execute_async_v3", 1), ("execute_async_v2", 2), ("execute_v2", None)):
        call = getattr(context, name, None)
        if call is not None and place is not None:
            setattr(context, name, looks_like(device.around(call, _stream_at(place)), call))
        probe.patch(context, name, "infer", f"tensorrt.IExecutionContext.{name}", models)


def _stream_at(place: int) -> Callable[..., int | None]:
    """The stream of a call of TensorRT: an argument."""

    def stream_of(arguments: tuple[Any, ...], options: dict[str, Any]) -> int | None:
        stream = arguments[place] if len(arguments) > place else options.get("stream_handle")
        return None if stream is None else int(stream)

    return stream_of


def _torch(probe: Probe, module: ModuleType) -> None:
    """The outermost module of a thread is the model, or prepares; those within it cost one look at a flag."""
    original: Callable[..., Any] = module.Module.__call__
    on_device = Device(probe).around(original, _torch_stream)
    infer = probe.wrap(on_device, "infer", "torch.nn.Module.__call__", _Models(probe))
    module.Module.__call__ = _outermost(original, lambda kind: _preparing(probe, original, kind) or infer)


def _torch_stream(arguments: tuple[Any, ...], options: dict[str, Any]) -> int | None:
    """The current stream; None where the program uses no device."""
    cuda = sys.modules["torch"].cuda
    return cuda.current_stream().cuda_stream if cuda.is_initialized() else None


def _outermost(original: Callable[..., Any], timed_of: Callable[[type], Callable[..., Any]]) -> Callable[..., Any]:
    """A call that is another one where none of its kind is under way on its thread; which, its class says."""
    inside = threading.local()
    timed: dict[type, Callable[..., Any]] = {}

    def __call__(self: Any, *arguments: Any, **options: Any) -> Any:
        if getattr(inside, "model", False):
            return original(self, *arguments, **options)
        inside.model = True
        kind = type(self)
        if kind not in timed:
            timed[kind] = timed_of(kind)
        try:
            return timed[kind](self, *arguments, **options)
        finally:
            inside.model = False

    return __call__


def _preparing(probe: Probe, original: Callable[..., Any], kind: type) -> Callable[..., Any] | None:
    """How a module is timed that prepares pictures; None where it does not."""
    if not kind.__module__.startswith(_PREPARING):
        return None
    timed: Callable[..., Any] = probe.wrap(original, "prepare", f"{kind.__module__}.{kind.__name__}")
    return timed


def _triton(probe: Probe, module: ModuleType) -> None:
    models = _Models(probe)
    call = f"{module.__name__}.InferenceServerClient.infer"
    probe.patch(getattr(module, "InferenceServerClient", None), "infer", "infer", call, models)


PATCHES: dict[str, Patch] = {
    **WAITS,
    **DECODERS,
    "subprocess": watch_children,
    "cv2": _cv2,
    "onnxruntime.capi.onnxruntime_inference_collection": _onnxruntime,
    "tensorrt": _tensorrt,
    "torch.nn.modules.module": _torch,
    "tritonclient.http": _triton,
    "tritonclient.grpc": _triton,
}
