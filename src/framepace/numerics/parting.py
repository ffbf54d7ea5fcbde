"""The first node at which two ways to run a model part: tensors in between are made outputs of both, in parts.

Both have to be files with tensors of the same names, run by ONNX Runtime: the same file with other options, or on
another device; one converted to a lower precision; or two files that a tool made of one. A node whose result is an
output is not fused with the next one, so what parts in a fusion alone agrees here: that is said.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from framepace.analyze.agreement import Tally
from framepace.backends.base import get_backend
from framepace.facts.accuracy import OutputAgreement
from framepace.facts.parting import PartedNode, Parting
from framepace.facts.plan import Batching, ModelPlan
from framepace.models.convert.kept import name_nodes, types_of
from framepace.models.convert.optimised import saved
from framepace.models.convert.variant import load, variant
from framepace.models.spec import inspect
from framepace.numerics.gate import paired_outputs
from framepace.progress import Tell, silent

NEGLIGIBLE = 1e-6  # largest difference of a tensor of nearly zeros, whose relative error means nothing
_TENSORS_AT_ONCE = 32
_FLOATS = (1, 10, 11, 16)  # of onnx.TensorProto: float, float16, double, bfloat16
_RUNTIME = "onnxruntime"
_FUSED = (
    "with each node's result as an output both agree, and they do not without: a fusion of nodes parts, which another "
    "level of optimisation leaves out"
)


def parting(
    models: tuple[ModelPlan, ModelPlan], pictures: Sequence[Any], limit: float, seed: int = 0, tell: Tell = silent
) -> Parting:
    """Where `models`, the reference and the candidate, part by more than `limit` (relative L2).

    Args:
        pictures: frames, decoded; numbers of frames for models that take none. A few will do.
        seed: of random inputs.

    Raises what loading and running raise.
    """
    closed = next((model.backend for model in models if not _is_open(model)), None)
    if closed is not None:
        problem = f"{closed} shows no tensors in between by their names in the file: only the outputs can be compared"
        return Parting(frames=len(pictures), limit=limit, notes=(problem,))
    with tempfile.TemporaryDirectory(prefix="framepace-") as folder:
        return _Comparison(models, pictures, limit, seed, tell, Path(folder)).result()


def _is_open(model: ModelPlan) -> bool:
    """Whether tensors of its file can be made outputs."""
    if model.backend != _RUNTIME or get_backend(model.backend).is_built(model.model):
        return False
    return inspect(model.model).format == "onnx"


class _Comparison:
    """Two files, opened up part by part."""

    def __init__(
        self,
        models: tuple[ModelPlan, ModelPlan],
        pictures: Sequence[Any],
        limit: float,
        seed: int,
        tell: Tell,
        folder: Path,
    ) -> None:
        self._plans = models
        self._pictures = pictures
        self._limit = limit
        self._seed = seed
        self._tell = tell
        self._folder = folder
        self._files = [_shaped(load(_file(model, tell))) for model in models]
        self._errors: dict[str, float] = {}

    def result(self) -> Parting:
        """The first node over the limit, as soon as it is found."""
        both = [_float_tensors(proto.graph) for proto in self._files]
        tensors = [name for name in both[0] if name in both[1]]
        first = self._first(tensors)
        return Parting(
            frames=len(self._pictures),
            limit=self._limit,
            tensors=len(both[0]),
            compared=len(self._errors),
            first=first,
            notes=_notes(first, tensors),
        )

    def _first(self, tensors: Sequence[str]) -> PartedNode | None:
        for start in range(0, len(tensors), _TENSORS_AT_ONCE):
            part = tensors[start : start + _TENSORS_AT_ONCE]
            self._tell("comparing nodes", start / len(tensors))
            self._compare(part)
            for name in part:
                if self._errors[name] > self._limit:
                    return self._node(name)
        return None

    def _compare(self, part: Sequence[str]) -> None:
        """The errors of some tensors."""
        opened = tuple(self._opened(number, part) for number in (0, 1))
        tallies = {name: Tally(name) for name in part}
        for expected, actual in paired_outputs((opened[0], opened[1]), self._pictures, self._seed, self._tell):
            for name in part:
                tallies[name].add(expected[name], actual[name])
        self._errors |= {name: _error(tally.result()) for name, tally in tallies.items()}

    def _opened(self, number: int, part: Sequence[str]) -> ModelPlan:
        """The plan with the file in which these tensors are outputs too."""
        from onnx import ModelProto

        proto = ModelProto()
        proto.CopyFrom(self._files[number])
        there = {output.name for output in proto.graph.output}
        values = {value.name: value for value in proto.graph.value_info}
        proto.graph.output.extend(values[name] for name in part if name not in there)
        path = saved(proto, self._folder / f"opened-{number}.onnx")
        return replace(_as_exported(self._plans[number]), model=str(path), fp32_nodes=(), batch=Batching())

    def _node(self, tensor: str) -> PartedNode:
        graph = self._files[0].graph
        node = next(node for node in graph.node if tensor in node.output)
        read = [self._errors[name] for name in node.input if name in self._errors]
        return PartedNode(
            node=node.name,
            operator=node.op_type,
            tensor=tensor,
            error=self._errors[tensor],
            before=max(read, default=None),
        )


def _error(numbers: OutputAgreement) -> float:
    """The relative L2 error; infinite for other shapes, and for NaN where the reference has none."""
    if numbers.mismatch is not None or numbers.nonfinite:
        return math.inf
    if numbers.relative_l2 is None or (numbers.max_abs or 0.0) <= NEGLIGIBLE:
        return 0.0
    return numbers.relative_l2


def _notes(first: PartedNode | None, tensors: Sequence[str]) -> tuple[str, ...]:
    if not tensors:
        return ("the two files have no tensors of the same name: only the outputs can be compared",)
    if first is None:
        return (_FUSED,)
    return ()


def _file(model: ModelPlan, tell: Tell) -> str:
    """The file that the backend runs, in the precision of the plan."""
    precision = None if model.precision == "fp32" else model.precision
    return variant(_as_exported(model), precision, tell)


def _as_exported(model: ModelPlan) -> ModelPlan:
    """The plan without anything folded into the file."""
    return replace(model, prepare=replace(model.prepare, place="host"), graph_shapes="exported")


def _shaped(proto: Any) -> Any:
    """The model with its nodes named and the types of its tensors."""
    import onnx

    name_nodes(proto.graph)
    try:
        return onnx.shape_inference.infer_shapes(proto)
    except Exception:  # above 2 GiB, or operators that onnx does not know: what the file states has to do
        return proto


def _float_tensors(graph: Any) -> list[str]:
    """Names of the float tensors that nodes make, in the order of the graph, as far as their types are known."""
    types = types_of(graph)
    return [name for node in graph.node for name in node.output if types.get(name) in _FLOATS]
