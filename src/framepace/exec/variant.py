"""Variants of a model: the ONNX file as the plan wants it run, with preparation folded in or in another precision.

A variant is a file in the cache, named by the model's hash and what was changed; the model itself is never touched.
"""

from __future__ import annotations

from framepace.exec.backend import Tell, silent
from framepace.facts.plan import ModelPlan


def variant(model: ModelPlan, precision: str | None = None, tell: Tell = silent) -> str:
    """Location of the ONNX file to load: `model.model` itself when nothing is changed, else a file of the cache.

    `model.prepare.place` 'graph' folds normalisation into the graph: the image input becomes uint8 (same name, layout
    and size), the values within float rounding of those that the host would have prepared.

    Args:
        precision: 'fp16', 'bf16' or 'int8' to put into the file; None leaves its own (libraries that convert
            themselves). Inputs and outputs keep their dtype. 'int8' is Q/DQ (symmetric, per channel), calibrated on
            frames of `model.calibration`.

    Raises:
        ModelError: the model cannot be converted. UsageError: no calibration data, or a precision that cannot be
            put into the file.
    """
    if precision is None and model.prepare.place == "host":
        return model.model
    raise NotImplementedError
