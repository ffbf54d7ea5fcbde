"""PyTorch: exported programs, TorchScript and the built-in networks, on a GPU or the CPU.

What a model file may and may not do is said in exec/torchfile.py.

Settings of PyTorch that hold for the whole process are set when a model is loaded, and set back when the next one does
not name them: the number of threads, TF32, the search of cuDNN. Of two models in one process the later one decides.

Low precision is autocast: operators that lose nothing run in fp16 or bf16, the others in fp32. Weights of convolutions
and matrix products are converted once, when the model is loaded; inputs and outputs keep their dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.errors import BackendError, FramepaceError, ModelError, UsageError
from framepace.exec import models, torchfile, torchgraph, torchnet, torchscript
from framepace.exec.backend import Backend, Session, Tell, Tensors, Worker
from framepace.exec.backends.options import checked
from framepace.exec.clock import Clock
from framepace.exec.gpu import staging_array
from framepace.exec.models import Resolved
from framepace.exec.prepare import _affine
from framepace.exec.torchscript import first_line
from framepace.facts.base import Fact
from framepace.facts.model import Layer, ModelSpec, TensorSpec
from framepace.facts.plan import ModelPlan

OPTIONS: Mapping[str, str] = {
    "channels_last": "keep pictures and weights of convolutions in the NHWC layout (true or false)",
    "compile": "torch.compile the model when it is loaded (true or false)",
    "compile_mode": "of torch.compile: default or max-autotune-no-cudagraphs",
    "tf32": "let float32 products run in TF32 (true or false; PyTorch's own: convolutions only)",
    "cudnn_benchmark": "let cuDNN try its convolution algorithms on each new shape (true or false)",
}
_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
_PROFILED = 10  # runs under the profiler
_default_threads = torch.get_num_threads()

Tensor = Any  # torch.Tensor: PyTorch's types are not checked here
Run = Callable[[Sequence[Tensor]], list[tuple[str, Tensor]]]


class _Options(Fact, frozen=True, kw_only=True):
    channels_last: bool = False
    compile: bool = False
    # The other modes bring CUDA graphs of their own, one for all threads: `graph` does that here.
    compile_mode: Literal["default", "max-autotune-no-cudagraphs"] = "default"
    tf32: bool = False
    cudnn_benchmark: bool = False


class TorchBackend(Backend):
    """PyTorch with CUDA or on the CPU; CUDA first where it can be used."""

    name = "torch"
    options = OPTIONS

    def __init__(self) -> None:
        self.devices = ("cuda", "cpu") if torch.cuda.is_available() else ("cpu", "cuda")

    def _load(self, model: ModelPlan, clock: Clock, tell: Tell) -> Session:
        kind = (model.device or self.devices[0]).partition(":")[0]
        if model.precision == "int8":
            fix = "use the backend onnxruntime or tensorrt, or a model that is quantised already"
            raise UsageError("the backend torch does not quantise", got="int8", expected="fp32, fp16, bf16", fix=fix)
        plan = replace(model, options=checked(self.name, _Options, model.options))
        if kind == "cuda":
            from framepace.exec.backends.torch_cuda import CudaSession

            return CudaSession(plan, tell)
        return CpuSession(plan, tell)

    def versions(self) -> dict[str, str]:
        """Version of PyTorch, and of the CUDA that it was built for."""
        cuda = torch.version.cuda
        return {"torch": torch.__version__} | ({"cuda": cuda} if cuda else {})


class TorchSession(Session):
    """What both kinds of session do: the model on `device`, behind one function from input tensors to named outputs."""

    def __init__(self, model: ModelPlan, device: str, tell: Tell) -> None:
        self.plan, self.device = model, device
        found = _inspect(model)
        asked = models.resolve(found, model)
        _check_limits(found, asked)
        self.spec = replace(found, inputs=asked.inputs)
        self.resolved = _folded(asked, model)
        _set_up(model)
        tell(f"loading {model.name}", None)
        try:
            self.run = self._prepared(found, asked, tell)
        except FramepaceError:
            raise
        except Exception as error:  # torch raises RuntimeError for most, whatever the cause
            raise self.error(error, f"PyTorch cannot run {model.model}") from error

    def error(self, error: Exception, what: str) -> FramepaceError:
        """The error of ours for one of PyTorch."""
        return BackendError(what, got=first_line(error))

    def example(self) -> list[Tensor]:
        """Inputs of the largest batch, on the device."""
        return [torch.from_numpy(_staged(t, self.resolved)).to(self.device) for t in self.resolved.inputs]

    def layers(self) -> tuple[Layer, ...]:
        """Self time of each operator in one inference of the largest batch, from PyTorch's profiler: mean of ten."""
        gpu = self.device != "cpu"
        kinds = [torch.profiler.ProfilerActivity.CPU] + [torch.profiler.ProfilerActivity.CUDA] * gpu
        inputs = self.example()
        with torch.inference_mode():
            self.run(inputs)
            with torch.profiler.profile(activities=kinds) as profile:
                for _ in range(_PROFILED):
                    self.run(inputs)
                if gpu:
                    torch.cuda.current_stream(self.device).synchronize()
        return _layers(profile, "cuda" if gpu else "cpu")

    def _prepared(self, found: ModelSpec, asked: Resolved, tell: Tell) -> Run:
        module, names = _module(self.plan, found, self.device)
        run = _runner(self.plan, module, asked, _casts(module, asked), names, found.outputs, self.device)
        if self.plan.options.get("compile"):
            if found.format == "torchscript":
                fix = "compile an exported program (.pt2)"
                raise UsageError("TorchScript cannot be compiled", got="compile=true", fix=fix)
            tell(f"compiling {self.plan.name}", None)
            run = torch.compile(run, mode=str(self.plan.options.get("compile_mode", "default")))
        if self.plan.options.get("compile") or found.format == "torchscript":
            with torch.inference_mode():
                made = run(self.example())
            self.spec = replace(self.spec, outputs=tuple(_spec(name, tensor) for name, tensor in made))
        return run

    def _close(self) -> None:
        self.run = _closed


def _closed(inputs: Sequence[Tensor]) -> list[tuple[str, Tensor]]:
    raise BackendError("the model is closed", fix="load it again")


class CpuSession(TorchSession):
    """On the CPU."""

    def __init__(self, model: ModelPlan, tell: Tell) -> None:
        if model.device is None:
            reason = cuda_missing() or "no CUDA device"
            self.notes = (f"{model.name}: PyTorch runs on the CPU ({reason})",)
        super().__init__(model, "cpu", tell)

    def _worker(self, index: int) -> Worker:
        return _CpuWorker(self)


def cuda_missing() -> str | None:
    """Why PyTorch cannot use a GPU here, in its own words; None when it can."""
    if torch.cuda.is_available():
        return None
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    try:
        torch.cuda.init()
    except Exception as error:  # RuntimeError, AssertionError: no driver, or one that is too old
        return first_line(error)
    return f"torch {torch.__version__} sees no CUDA device"


def _inspect(model: ModelPlan) -> ModelSpec:
    """What the model is. Raises ModelError for what PyTorch cannot run, and for TorchScript without shapes."""
    if model.model.startswith("builtin:"):
        return models.inspect(model.model)
    if model.model.endswith(".onnx"):
        fix = "use the backend onnxruntime or tensorrt, or export the model with torch.export"
        what = "PyTorch does not run ONNX files"
        raise ModelError(what, got=model.model, expected="an exported program (.pt2) or TorchScript", fix=fix)
    found = torchfile.inspect(model.model)
    missing = [tensor.name for tensor in found.inputs if found.format == "torchscript" and tensor.name not in model.shapes]
    if missing:
        fix = " ".join(f"--shape {name}=1x3x480x640" for name in missing)
        what = f"TorchScript does not say the shapes of its inputs: {', '.join(missing)}"
        raise ModelError(what, got=model.model, fix=f"give them, with your numbers: {fix}")
    return found


def _check_limits(found: ModelSpec, asked: Resolved) -> None:
    """Raise ModelError where a size is outside of what the model was exported for."""
    if found.format != "torch-export":
        return
    limits = torchgraph.limits(torchfile.document(torchfile.open_archive(found.location)))
    for own, given in zip(found.inputs, asked.inputs, strict=True):
        for symbol, size in zip(own.shape, given.shape, strict=True):
            low, high = limits.get(str(symbol), (0, float("inf")))
            if not low <= int(size) <= high:
                what = f"input {own.name!r} was exported for other sizes"
                fix = "export it with dynamic_shapes that allow it"
                raise ModelError(what, got=size, expected=f"{low:g} to {high:g}", fix=fix)


def _folded(asked: Resolved, model: ModelPlan) -> Resolved:
    """The inputs as the staging has them: a folded picture is uint8."""
    if model.prepare.place == "host" or asked.image is None:
        return asked
    name = asked.image.name
    inputs = tuple(replace(t, dtype="uint8") if t.name == name else t for t in asked.inputs)
    image = type(asked.image)(**{**vars(asked.image), "dtype": "uint8"})
    return Resolved(inputs, image, asked.batched)


def _set_up(model: ModelPlan) -> None:
    """What holds for the whole process; what the plan does not name gets PyTorch's own value again."""
    torch.set_num_threads(model.threads or _default_threads)
    tf32 = model.options.get("tf32")
    torch.backends.cuda.matmul.allow_tf32 = bool(tf32)
    torch.backends.cudnn.allow_tf32 = True if tf32 is None else bool(tf32)
    torch.backends.cudnn.benchmark = bool(model.options.get("cudnn_benchmark", False))


def _module(model: ModelPlan, found: ModelSpec, device: str) -> tuple[Any, tuple[str, ...]]:
    """The network on the device in its layout and precision, and the names of its outputs (none: its result names them)."""
    names = tuple(tensor.name for tensor in found.outputs)
    kind = torchgraph
    if model.model.startswith("builtin:"):
        module = torchnet.load(model.model.removeprefix("builtin:"), device)
    else:
        archive = torchfile.open_archive(model.model)
        if archive.kind == "torchscript":
            module, names, kind = torchscript.load(archive).to(device), (), torchscript
        else:
            module = torchgraph.load(archive, device)
    if model.precision in _DTYPES:
        kind.lower(module, _DTYPES[model.precision])
    if model.options.get("channels_last"):
        module = module.to(memory_format=torch.channels_last)
    return module, names


def _runner(
    model: ModelPlan, module: Any, asked: Resolved, names: Sequence[str], outputs: Sequence[TensorSpec], device: str
) -> Run:
    """The inference: from tensors as the staging has them to contiguous tensors of dtypes that NumPy has."""
    first = [_entry(model, asked, tensor, device) for tensor in asked.inputs]
    last = {tensor.name: getattr(torch, tensor.dtype) for tensor in outputs} if names else {}
    lowered = _DTYPES.get(model.precision)
    kind = device.partition(":")[0]

    def context() -> AbstractContextManager[Any]:
        return torch.autocast(kind, dtype=lowered) if lowered is not None else nullcontext()

    def run(inputs: Sequence[Tensor]) -> list[tuple[str, Tensor]]:
        given = [enter(tensor) for enter, tensor in zip(first, inputs, strict=True)]
        with context():
            made = module(*given)
        found = zip(names, made, strict=True) if names else torchscript.leaves(made)
        return [(name, _out(tensor, last.get(name), lowered is not None)) for name, tensor in found]

    return run


def _out(tensor: Tensor, dtype: Any, lowered: bool) -> Tensor:
    if dtype is None:
        low = tensor.dtype is torch.bfloat16 or (lowered and tensor.dtype is torch.float16)
        dtype = torch.float32 if low else tensor.dtype
    return tensor.to(dtype).contiguous()


def _entry(model: ModelPlan, asked: Resolved, spec: TensorSpec, device: str) -> Callable[[Tensor], Tensor]:
    raise NotImplementedError
