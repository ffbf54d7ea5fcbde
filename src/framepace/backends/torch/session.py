"""A model in PyTorch: one function from input tensors, as the staging has them, to named outputs. Here: on the CPU."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.backends.base import Session, Tensors, Worker
from framepace.backends.torch.layers import Run, node_layers, operator_layers
from framepace.errors import BackendError, FramepaceError, ModelError, UsageError
from framepace.facts.model import Layer, ModelSpec, TensorSpec
from framepace.facts.plan import ModelPlan
from framepace.models.inputs import staged
from framepace.models.spec import Resolved, inspect, resolve
from framepace.models.torch import builtin, file, graph, script
from framepace.models.torch import spec as program
from framepace.models.torch.script import first_line
from framepace.progress import Tell
from framepace.video.prepare import affine

_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
_default_threads = torch.get_num_threads()

Tensor = Any  # torch.Tensor: PyTorch's types are not checked here


class TorchSession(Session):
    """The model on `device`, behind one function `run` from input tensors to named outputs."""

    def __init__(self, model: ModelPlan, device: str, tell: Tell) -> None:
        self.plan = model
        self.device = device
        self._module: Any = None  # the graph of the network, where it is run as one
        file_spec = _inspect(model)
        resolved = resolve(file_spec, model)
        _check_limits(file_spec, resolved)
        self.spec = replace(file_spec, inputs=resolved.inputs)
        self.resolved = _as_staged(resolved, model)
        _set_up(model)
        tell(f"loading {model.name}", None)
        try:
            self.run = self._make_run(file_spec, resolved, tell)
        except FramepaceError:
            raise
        except Exception as error:  # torch raises RuntimeError for most, whatever the cause
            raise self.error(error, f"PyTorch cannot run {model.model}") from error

    def error(self, error: Exception, problem: str) -> FramepaceError:
        """Our error for one of PyTorch."""
        return BackendError(problem, got=first_line(error))

    def example(self) -> list[Tensor]:
        """Inputs of the largest batch, on the device."""
        return [torch.from_numpy(staged(self.resolved, tensor)).to(self.device) for tensor in self.resolved.inputs]

    def output_shapes(self, count: int) -> dict[str, Sequence[int]]:
        """See Session."""
        arrays = [self.resolved.first(t.name, staged(self.resolved, t), count) for t in self.resolved.inputs]
        try:
            with torch.inference_mode():
                outputs = self.run([torch.from_numpy(np.ascontiguousarray(a)).to(self.device) for a in arrays])
        except Exception as error:  # torch raises RuntimeError for most, whatever the cause
            raise self.error(error, "inference failed in PyTorch") from error
        return {name: tuple(tensor.shape) for name, tensor in outputs}

    def layers(self) -> tuple[Layer, ...]:
        """See Session: the largest batch, from PyTorch's profiler; of what is no graph its operators, without edges."""
        with torch.inference_mode():
            if self._module is not None:
                return node_layers(self._module, self._run_of, self.example(), self.device)
            return operator_layers(self.run, self.example(), self.device)

    def _make_run(self, file_spec: ModelSpec, resolved: Resolved, tell: Tell) -> Run:
        compiled = bool(self.plan.options.get("compile"))
        is_script = file_spec.format == "torchscript"
        if compiled and is_script:
            fix = "use an exported program (.pt2)"
            raise UsageError("TorchScript cannot be compiled again", got="compile", fix=fix)
        module = _module(self.plan, self.device)
        self._run_of: Callable[[Any], Run] = functools.partial(
            _runner, self.plan, file_spec=file_spec, resolved=resolved, device=self.device
        )
        run = self._run_of(module)
        if isinstance(module, torch.fx.GraphModule) and not compiled:
            self._module = module
        if compiled:
            run = self._compiled(run, tell)
        if compiled or is_script:
            self.spec = replace(self.spec, outputs=self._output_specs(run))
        return run

    def _output_specs(self, run: Run) -> tuple[TensorSpec, ...]:
        """What one inference of the example returns."""
        with torch.inference_mode():
            outputs = run(self.example())
        return tuple(_tensor_spec(name, tensor) for name, tensor in outputs)

    def _compiled(self, run: Run, tell: Tell) -> Run:
        tell(f"compiling {self.plan.name}", None)
        # PyTorch compiles one code object eight times, then runs it eagerly without a word: each load has its own.
        run.__code__ = run.__code__.replace()
        compiled: Run = torch.compile(run, mode=str(self.plan.options.get("compile_mode", "default")))
        return compiled

    def _close(self) -> None:
        self.run = _closed
        self._module = None


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
        return inspect(model.model)
    if model.model.endswith(".onnx"):
        fix = "use the backend onnxruntime or tensorrt, or export the model with torch.export"
        expected = "an exported program (.pt2) or TorchScript"
        raise ModelError("PyTorch does not run ONNX files", got=model.model, expected=expected, fix=fix)
    file_spec = program.inspect(model.model)
    if file_spec.format == "torchscript":
        _check_shapes_given(file_spec, model)
    return file_spec


def _check_shapes_given(file_spec: ModelSpec, model: ModelPlan) -> None:
    missing = [tensor.name for tensor in file_spec.inputs if tensor.name not in model.shapes]
    if missing:
        settings = " ".join(f"--shape {name}=1x3x480x640" for name in missing)
        problem = f"TorchScript does not say the shapes of its inputs: {', '.join(missing)}"
        raise ModelError(problem, got=model.model, fix=f"give them, with your numbers: {settings}")


def _check_limits(file_spec: ModelSpec, resolved: Resolved) -> None:
    """Raise ModelError where a size is outside of what the model was exported for."""
    if file_spec.format != "torch-export":
        return
    limits = graph.limits(file.document(file.open_archive(file_spec.location)))
    for exported, tensor in zip(file_spec.inputs, resolved.inputs, strict=True):
        for symbol, size in zip(exported.shape, tensor.shape, strict=True):
            low, high = limits.get(str(symbol), (0, float("inf")))
            if not low <= int(size) <= high:
                problem = f"input {exported.name!r} was exported for other sizes"
                fix = "export it with dynamic_shapes that allow it"
                raise ModelError(problem, got=size, expected=f"{low:g} to {high:g}", fix=fix)


def _as_staged(resolved: Resolved, model: ModelPlan) -> Resolved:
    """The inputs as the staging has them: a picture that is normalised by PyTorch is uint8."""
    if model.prepare.place != "graph":
        return resolved
    if resolved.image is None:
        raise ModelError(f"model {model.name!r} has no picture to normalise", fix="--set prepare-place=host")
    if resolved.image.time_axis is not None:
        raise ModelError("clips are prepared on the host", got=model.name, fix="--set prepare-place=host")
    if not resolved.image.dtype.startswith("float"):
        return resolved
    return resolved.with_image_bytes()


def _set_up(model: ModelPlan) -> None:
    """Set what holds for the whole process; what the plan does not name gets PyTorch's own value again."""
    torch.set_num_threads(model.threads or _default_threads)
    torch.backends.cuda.matmul.allow_tf32 = bool(model.options.get("tf32", False))
    torch.backends.cudnn.allow_tf32 = bool(model.options.get("tf32", True))
    torch.backends.cudnn.benchmark = bool(model.options.get("cudnn_benchmark", False))


def _module(model: ModelPlan, device: str) -> Any:
    """The network on the device, in its layout and precision."""
    kind: Any = graph
    if model.model.startswith("builtin:"):
        module = builtin.load(model.model.removeprefix("builtin:"), device)
    else:
        archive = file.open_archive(model.model)
        if archive.kind == "torchscript":
            kind = script
        module = kind.load(archive, device)
    if model.precision in _DTYPES:
        kind.lower(module, _DTYPES[model.precision])
    if model.options.get("channels_last"):
        module = module.to(memory_format=torch.channels_last)
    return module


def _autocast(device: str, dtype: Any) -> Any:
    """Makes the context of an inference: autocast to `dtype`, or nothing where that is None."""
    if dtype is None:
        return nullcontext
    return functools.partial(torch.autocast, device.partition(":")[0], dtype)


def _runner(model: ModelPlan, module: Any, file_spec: ModelSpec, resolved: Resolved, device: str) -> Run:
    """The inference: from tensors as the staging has them to contiguous ones, in dtypes that NumPy has."""
    entries = [_entry(model, resolved, tensor, device) for tensor in resolved.inputs]
    lowered = _DTYPES.get(model.precision)
    context = _autocast(device, lowered)
    name_outputs = _named_leaves(lowered) if file_spec.format == "torchscript" else _as_exported(file_spec)

    def run(inputs: Sequence[Tensor]) -> list[tuple[str, Tensor]]:
        with context():
            outputs = module(*[enter(tensor) for enter, tensor in zip(entries, inputs, strict=True)])
        return name_outputs(outputs)

    return run


def _named_leaves(lowered: Any) -> Callable[[Any], list[tuple[str, Tensor]]]:
    """For TorchScript: only its result says what it returns."""
    return lambda outputs: [(name, _readable(tensor, lowered)) for name, tensor in script.leaves(outputs)]


def _as_exported(file_spec: ModelSpec) -> Callable[[Any], list[tuple[str, Tensor]]]:
    """For exported programs: names and dtypes are those of the file."""
    names = [tensor.name for tensor in file_spec.outputs]
    dtypes = [getattr(torch, tensor.dtype) for tensor in file_spec.outputs]

    def name_outputs(outputs: Any) -> list[tuple[str, Tensor]]:
        tensors = [tensor.to(dtype).contiguous() for tensor, dtype in zip(outputs, dtypes, strict=True)]
        return list(zip(names, tensors, strict=True))

    return name_outputs


def _readable(tensor: Tensor, lowered: Any) -> Tensor:
    if tensor.dtype is torch.bfloat16 or tensor.dtype is lowered:
        tensor = tensor.float()
    return tensor.contiguous()


def _entry(model: ModelPlan, resolved: Resolved, spec: TensorSpec, device: str) -> Callable[[Tensor], Tensor]:
    """What happens to an input before the network: the arithmetic of video/prepare.py, and the layout."""
    if resolved.image is None or spec.name != resolved.image.name:
        return _same
    steps: list[Callable[[Tensor], Tensor]] = []
    if model.prepare.place == "graph" and spec.dtype.startswith("float"):
        steps.append(_normalise(model, resolved, device))
    if model.options.get("channels_last"):
        steps.append(lambda tensor: tensor.contiguous(memory_format=torch.channels_last))
    if not steps:
        return _same
    return functools.partial(functools.reduce, lambda tensor, step: step(tensor), steps)


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _normalise(model: ModelPlan, resolved: Resolved, device: str) -> Callable[[Tensor], Tensor]:
    """uint8 to (pixel * scale - mean) / std, per channel, in float32, then in the model's dtype."""
    assert resolved.image is not None
    pairs = affine(model.prepare, resolved.image.channels)
    per_channel = {"nchw": (len(pairs), 1, 1), "nhwc": (len(pairs),)}[resolved.image.layout]
    factor, offset = (torch.tensor(values, device=device).reshape(per_channel) for values in zip(*pairs, strict=True))
    dtype = getattr(torch, resolved.image.dtype)
    return lambda pixels: (pixels.float() * factor + offset).to(dtype)


def _tensor_spec(name: str, tensor: Tensor) -> TensorSpec:
    return TensorSpec(name=name, dtype=str(tensor.dtype).removeprefix("torch."), shape=tuple(tensor.shape))


class _CpuWorker(Worker):
    """Computes in `enqueue`; a run of a smaller batch uses a slice where the model allows it."""

    def __init__(self, session: TorchSession) -> None:
        self._session = session
        self._resolved = session.resolved
        self._full = session.plan.batch.max
        self._inputs = {tensor.name: staged(session.resolved, tensor) for tensor in session.resolved.inputs}
        self._outputs: dict[str, NDArray[Any]] = {}

    def staging(self, slot: int) -> Tensors:
        return self._inputs

    def enqueue(self, slot: int, count: int) -> None:
        try:
            with torch.inference_mode():
                outputs = self._session.run([torch.from_numpy(array) for array in self._arrays(count)])
        except Exception as error:  # torch raises RuntimeError for most, whatever the cause
            raise self._session.error(error, "inference failed in PyTorch") from error
        self._outputs = {name: tensor.numpy() for name, tensor in outputs}

    def wait(self, slot: int) -> Tensors:
        return self._outputs

    def _arrays(self, count: int) -> list[NDArray[Any]]:
        """The inputs, cut to `count` items where they have a batch."""
        if count == self._full:
            return list(self._inputs.values())
        return [self._resolved.first(name, array, count) for name, array in self._inputs.items()]
