"""The batch sizes that ONNX Runtime runs on a GPU: of a network with convolutions one alone."""

from __future__ import annotations

from collections.abc import Sequence

from framepace.facts.plan import ModelPlan
from framepace.models.spec import operators

_CONVOLUTION = "Conv"  # in the names of all: ConvTranspose, FusedConv and NhwcFusedConv of the library's own


def unused_sizes(model: ModelPlan, kind: str) -> Sequence[str]:
    """A sentence where sizes were asked for that are not run."""
    full = model.batch.max
    if kind == "cpu" or set(model.batch.sizes) <= {full} or not runs_one_size(model):
        return ()
    return (f"{model.name}: batches of every size run as {full}: ONNX Runtime's convolutions keep one size on a GPU",)


def runs_one_size(model: ModelPlan) -> bool:
    """Whether it has convolutions; of a file that does not tell its operators that is not known."""
    kinds = operators(model.model)
    return not kinds or any(_CONVOLUTION in kind for kind in kinds)
