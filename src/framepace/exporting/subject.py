"""One model of a plan on its way to another server: its file, its shapes, and by which library it will run there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

from framepace.errors import StoreError, UsageError, unknown
from framepace.facts.model import ModelSpec, TensorSpec
from framepace.facts.plan import ModelPlan, Plan
from framepace.models import builtin
from framepace.models.batchaxis import ANY_RANK
from framepace.models.convert.variant import variant
from framepace.models.spec import Resolved, inspect, resolve
from framepace.models.torch import spec as torchspec
from framepace.openinference.datatypes import DATATYPES
from framepace.progress import Tell
from framepace.store.files import cannot_write
from framepace.values import shown

Runtime = Literal["onnxruntime", "tensorrt", "pytorch", "python"]
RUNTIMES: tuple[Runtime, ...] = ("onnxruntime", "tensorrt", "pytorch", "python")
_ENGINES = (".engine", ".plan", ".trt")
_FILES = {"onnxruntime": "model.onnx", "python": "model.onnx", "tensorrt": "model.plan", "pytorch": "model.pt"}
_ONNX = "the model as an ONNX file"
_BUILT_IN = "builtin:"
_NAME = re.compile(r"[^/\\\x00-\x1f\x7f]+")
_LONGEST_NAME = 200  # bytes: file systems allow 255, and endings are added


@dataclass(frozen=True)
class Subject:
    """One model of a plan.

    Attributes:
        file: what is copied: the variant that the plan runs.
        spec: that file's inputs and outputs.
        accelerated: run by TensorRT within ONNX Runtime.
    """

    plan: Plan
    model: ModelPlan
    runtime: Runtime
    file: str
    spec: ModelSpec
    resolved: Resolved
    accelerated: bool

    @property
    def file_name(self) -> str:
        """What the file is called in a repository."""
        return _FILES[self.runtime]

    @property
    def on_gpu(self) -> bool:
        """Whether it runs on a GPU."""
        return self.accelerated or self.runtime == "tensorrt" or (self.model.device or "cpu").startswith("cuda")

    @property
    def batched(self) -> bool:
        """Whether requests can share an inference: the first axis of every input is an open batch."""
        axes = [self.resolved.axis(t.name) if t.name in self.resolved.batched else None for t in self.resolved.inputs]
        return all(axis == 0 for axis in axes) and all(_is_open(tensor) for tensor in self.spec.outputs)

    @property
    def prepares(self) -> bool:
        """Whether the server prepares pictures: they go into one input, and nothing is folded into the network."""
        resolved = self.resolved
        single = resolved.image is not None and len(resolved.inputs) == 1 and resolved.window is None
        return single and self.model.prepare.place != "graph" and resolved.pictures_before == 0

    @property
    def instances(self) -> int:
        """How many instances of the model run at the same time."""
        return self.plan.engine.workers


def _is_open(tensor: TensorSpec) -> bool:
    return bool(tensor.shape) and isinstance(tensor.shape[0], str)


def subject(plan: Plan, model: ModelPlan, runtime: str | None, tell: Tell) -> Subject:
    """A model with its file converted as the plan says.

    Args:
        runtime: one of `RUNTIMES`; None: what the plan's backend asks for.

    Raises UsageError for a model that this runtime does not run, or whose name no folder can have; ModelError.
    """
    _check_name(model.name)
    chosen = _runtime(model, runtime)
    accelerated = chosen == "onnxruntime" and model.backend == "tensorrt"
    file = model.model
    if chosen in ("onnxruntime", "python"):
        file = variant(model, _file_precision(model, accelerated), tell)
    spec = inspect(model.model if chosen == "tensorrt" else file)
    _check_tensors(spec)
    return Subject(plan, model, chosen, file, spec, resolve(spec, model), accelerated)


def _runtime(model: ModelPlan, named: str | None) -> Runtime:
    """The runtime, where it runs such a file. Raises UsageError."""
    if named is not None and named not in RUNTIMES:
        raise unknown("runtime", named, RUNTIMES)
    natural = _natural(model)
    chosen = natural if named is None else next(runtime for runtime in RUNTIMES if runtime == named)
    if chosen != natural and {chosen, natural} != {"onnxruntime", "python"}:
        fix = f"--runtime {natural}, or {_ONNX}"
        raise UsageError(f"Triton's {chosen} backend does not run such a file", got=model.model, fix=fix)
    return chosen


def _natural(model: ModelPlan) -> Runtime:
    """The runtime for a file of this kind. Raises UsageError for what no file holds."""
    suffix = PurePath(model.model).suffix
    if suffix in _ENGINES:
        return "tensorrt"
    if suffix in torchspec.SUFFIXES:
        if inspect(model.model).format != "torchscript":
            fix = f"export {_ONNX}, or as TorchScript"
            raise UsageError("Triton's pytorch backend runs TorchScript only", got=model.model, fix=fix)
        return "pytorch"
    if inspect(model.model).format != "onnx":
        raise UsageError("there is no file to export", got=model.model, expected=_ONNX, fix="name an ONNX file")
    return "onnxruntime"


def _file_precision(model: ModelPlan, accelerated: bool) -> str | None:
    """What is put into the file; TensorRT converts to FP16 by itself."""
    if model.precision == "fp32" or (accelerated and model.precision == "fp16"):
        return None
    if model.precision == "bf16":
        raise UsageError("ONNX Runtime runs no bf16", got=model.name, fix="--set precision=fp16, or fp32")
    if model.precision == "int8" and model.options.get("activations") == "uint8":
        return "int8+uint8"
    return model.precision


def _check_name(name: str) -> None:
    """Raise UsageError for a name that would be another place than one folder or file."""
    if name not in (".", "..") and _NAME.fullmatch(name) and len(name.encode()) <= _LONGEST_NAME:
        return
    fix = "give the model another name in the plan"
    expected = f"a name that a file can have, without / and line breaks, of at most {_LONGEST_NAME} bytes"
    raise UsageError("a model cannot be exported under this name", got=repr(shown(name)), expected=expected, fix=fix)


def _check_tensors(spec: ModelSpec) -> None:
    """Raise UsageError for tensors that no configuration can describe."""
    for tensor in (*spec.inputs, *spec.outputs):
        if tensor.dtype not in DATATYPES:
            expected = ", ".join(DATATYPES)
            problem = f"no server has tensors like {tensor.name!r}"
            raise UsageError(problem, got=tensor.dtype, expected=expected, fix="export the model with another dtype")
    for tensor in spec.outputs:
        if tensor.shape == ANY_RANK:
            problem = f"the file does not say how many axes output {tensor.name!r} has, which Triton has to know"
            raise UsageError(problem, got=spec.location, fix=f"export {_ONNX}, which says it")


def content(location: str) -> bytes:
    """The bytes of a model."""
    if location.startswith(_BUILT_IN):
        return builtin.model_bytes(location.removeprefix(_BUILT_IN))
    return Path(location).read_bytes()


def check_free(path: Path, overwrite: bool, problem: str) -> None:
    """Raise StoreError where something is at `path` that may not be written over."""
    if path.exists() and not overwrite:
        raise StoreError(problem, got=path, fix="name another folder, or write over it with --overwrite")


def make_folder(path: Path) -> None:
    """Make a folder with those it lies in. Raises StoreError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
