"""A model in PyTorch: one function from input tensors, as the staging has them, to named outputs. Here: on the CPU."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.backends.base import Session, Tensors, Worker
from framepace.errors import BackendError, FramepaceError, ModelError, UsageError
from framepace.facts.model import Layer, ModelSpec, TensorSpec
from framepace.facts.plan import ModelPlan
from framepace.models import spec as models
from framepace.models.inputs import staging_array
from framepace.models.spec import Resolved
from framepace.models.torch import builtin as torchnet
from framepace.models.torch import file as torchfile
from framepace.models.torch import graph as torchgraph
from framepace.models.torch import script as torchscript
from framepace.models.torch import spec as torchmodel
from framepace.models.torch.script import first_line
from framepace.progress import Tell
from framepace.video.prepare import affine

_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
_PROFILED = 10  # runs under the profiler
_default_threads = torch.get_num_threads()

Tensor = Any  # torch.Tensor: PyTorch's types are not checked here
Run = Callable[[Sequence[Tensor]], list[tuple[str, Tensor]]]


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
        return [torch.from_numpy(_staged(tensor)).to(self.device) for tensor in self.resolved.inputs]

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
        compiled = bool(self.plan.options.get("compile"))
        script = found.format == "torchscript"
        if compiled and script:
            raise UsageError(
                "TorchScript cannot be compiled again", got="compile", fix="use an exported program (.pt2)"
            )
        run = _runner(self.plan, _module(self.plan, self.device), found, asked, self.device)
        if compiled:
            tell(f"compiling {self.plan.name}", None)
            # PyTorch compiles one code object eight times, then runs it eagerly without a word: each load has its own.
            run.__code__ = run.__code__.replace()
            run = torch.compile(run, mode=str(self.plan.options.get("compile_mode", "default")))
        if compiled or script:
            with torch.inference_mode():
                made = run(self.example())
            self.spec = replace(self.spec, outputs=tuple(_described(name, tensor) for name, tensor in made))
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
    found = torchmodel.inspect(model.model)
    missing = [
        tensor.name for tensor in found.inputs if found.format == "torchscript" and tensor.name not in model.shapes
    ]
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
    """The inputs as the staging has them: a picture that is normalised by PyTorch is uint8."""
    if model.prepare.place == "host":
        return asked
    if asked.image is None:
        raise ModelError(f"model {model.name!r} has no picture to normalise", fix="leave out place=graph")
    if not asked.image.dtype.startswith("float"):
        return asked
    name = asked.image.name
    inputs = tuple(replace(t, dtype="uint8") if t.name == name else t for t in asked.inputs)
    return Resolved(inputs, dataclasses.replace(asked.image, dtype="uint8"), asked.batched)


def _set_up(model: ModelPlan) -> None:
    """What holds for the whole process; what the plan does not name gets PyTorch's own value again."""
    torch.set_num_threads(model.threads or _default_threads)
    tf32 = model.options.get("tf32")
    torch.backends.cuda.matmul.allow_tf32 = bool(tf32)
    torch.backends.cudnn.allow_tf32 = True if tf32 is None else bool(tf32)
    torch.backends.cudnn.benchmark = bool(model.options.get("cudnn_benchmark", False))


def _module(model: ModelPlan, device: str) -> Any:
    """The network on the device, in its layout and precision."""
    kind: Any = torchgraph
    if model.model.startswith("builtin:"):
        module = torchnet.load(model.model.removeprefix("builtin:"), device)
    else:
        archive = torchfile.open_archive(model.model)
        kind = torchscript if archive.kind == "torchscript" else torchgraph
        module = kind.load(archive, device)
    if model.precision in _DTYPES:
        kind.lower(module, _DTYPES[model.precision])
    if model.options.get("channels_last"):
        module = module.to(memory_format=torch.channels_last)
    return module


def _runner(model: ModelPlan, module: Any, found: ModelSpec, asked: Resolved, device: str) -> Run:
    """The inference: from tensors as the staging has them to contiguous ones, in dtypes that NumPy has."""
    entries = [_entry(model, asked, tensor, device) for tensor in asked.inputs]
    script, lowered = found.format == "torchscript", _DTYPES.get(model.precision)
    names = [tensor.name for tensor in found.outputs]
    dtypes = [getattr(torch, tensor.dtype) for tensor in found.outputs]
    context = functools.partial(torch.autocast, device.partition(":")[0], lowered) if lowered else nullcontext

    def run(inputs: Sequence[Tensor]) -> list[tuple[str, Tensor]]:
        with context():
            made = module(*[enter(tensor) for enter, tensor in zip(entries, inputs, strict=True)])
        if script:  # only its result says what it returns
            return [(name, _readable(tensor, lowered)) for name, tensor in torchscript.leaves(made)]
        tensors = [tensor.to(dtype).contiguous() for tensor, dtype in zip(made, dtypes, strict=True)]
        return list(zip(names, tensors, strict=True))

    return run


def _readable(tensor: Tensor, lowered: Any) -> Tensor:
    if tensor.dtype is torch.bfloat16 or tensor.dtype is lowered:
        tensor = tensor.float()
    return tensor.contiguous()


def _entry(model: ModelPlan, asked: Resolved, spec: TensorSpec, device: str) -> Callable[[Tensor], Tensor]:
    """What happens to an input before the network: the arithmetic of exec/prepare.py, and the layout."""
    picture = asked.image is not None and spec.name == asked.image.name
    steps: list[Callable[[Tensor], Tensor]] = []
    if picture and model.prepare.place == "graph" and spec.dtype.startswith("float"):
        steps.append(_normalise(model, asked, device))
    if picture and model.options.get("channels_last"):
        steps.append(lambda tensor: tensor.contiguous(memory_format=torch.channels_last))
    return functools.partial(functools.reduce, lambda tensor, step: step(tensor), steps) if steps else _same


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _normalise(model: ModelPlan, asked: Resolved, device: str) -> Callable[[Tensor], Tensor]:
    """uint8 to (pixel * scale - mean) / std, per channel, in float32, then in the model's dtype."""
    assert asked.image is not None
    pairs = affine(model.prepare, asked.image.channels)
    side = (len(pairs), 1, 1) if asked.image.layout == "nchw" else (len(pairs),)
    factor, offset = (torch.tensor(values, device=device).reshape(side) for values in zip(*pairs, strict=True))
    dtype = getattr(torch, asked.image.dtype)
    return lambda pixels: (pixels.float() * factor + offset).to(dtype)


def _staged(spec: TensorSpec) -> NDArray[Any]:
    array = np.empty([int(d) for d in spec.shape], spec.dtype)
    staging_array(spec, array)
    return array


def _described(name: str, tensor: Tensor) -> TensorSpec:
    return TensorSpec(name=name, dtype=str(tensor.dtype).removeprefix("torch."), shape=tuple(tensor.shape))


def _layers(profile: Any, place: str) -> tuple[Layer, ...]:
    """Operators by self time; kernels appear with the operator that launched them."""
    host = torch.autograd.DeviceType.CPU
    key = "self_device_time_total" if place == "cuda" else "self_cpu_time_total"  # us
    events = [event for event in profile.key_averages() if event.device_type == host and getattr(event, key) > 0]
    events.sort(key=lambda event: -getattr(event, key))
    return tuple(
        Layer(name=e.key, time=getattr(e, key) * 1e3 / _PROFILED, kind="operator", place=place) for e in events
    )


class _CpuWorker(Worker):
    """Computes in `enqueue`; a run of a smaller batch uses a slice where the model allows it."""

    def __init__(self, session: TorchSession) -> None:
        self._session, self._batched, self._full = session, session.resolved.batched, session.plan.batch.max
        self._inputs = {tensor.name: _staged(tensor) for tensor in session.resolved.inputs}
        self._outputs: dict[str, NDArray[Any]] = {}

    def staging(self, slot: int) -> Tensors:
        return self._inputs

    def enqueue(self, slot: int, count: int) -> None:
        part = count < self._full
        arrays = [a[:count] if part and name in self._batched else a for name, a in self._inputs.items()]
        try:
            with torch.inference_mode():
                made = self._session.run([torch.from_numpy(array) for array in arrays])
        except Exception as error:  # torch raises RuntimeError for most, whatever the cause
            raise self._session.error(error, "inference failed in PyTorch") from error
        self._outputs = {name: tensor.numpy() for name, tensor in made}

    def wait(self, slot: int) -> Tensors:
        return self._outputs
