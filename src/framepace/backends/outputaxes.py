"""Along which axis a model's outputs are divided among the items of a batch, found by running one item and two."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from framepace.errors import BatchesFail, FramepaceError
from framepace.facts.model import ModelSpec
from framepace.facts.plan import ModelPlan
from framepace.interrupts import INFERENCE_ON_DEVICE_S, INFERENCE_S, ended_after
from framepace.models.batchaxis import batch_symbol, declared_axes, measured_axes
from framepace.models.spec import inspect
from framepace.units import NS_PER_S

if TYPE_CHECKING:
    from framepace.backends.base import Session

_REMEDY = "run one item at a time, which is not tried beforehand (--set batch=1)"
_PATIENCE = 4.0  # an inference may take so many times as long per item as the longest before


def output_axes(model: ModelPlan, session: Session) -> dict[str, int]:
    """The batch axis of each output: by running one item and two where the library can, else by what the file says.

    Raises BatchesFail for a model that runs one item, but not the two that its file allows.
    """
    if model.batch.max == 1:
        return {}
    declared = _declared(model, session)
    if not session.resolved.batched:
        return {t.name: 0 for t in declared.outputs if t.shape[:1] == (model.batch.max,)}
    try:
        one = _shapes_of(session, model, 1)
    except FramepaceError:  # nothing can be learnt of a model that fails: the run will say why
        one = None
    symbol = batch_symbol(declared.inputs, session.resolved.picture_axes)
    if one is None:
        return declared_axes(declared.outputs, symbol)
    return measured_axes(one, _shapes_of_two(model, session), declared.outputs, symbol)


def _declared(model: ModelPlan, session: Session) -> ModelSpec:
    """What the model's file says of its inputs and outputs; the session's own where it is no file that says."""
    try:
        return inspect(model.model)
    except FramepaceError:
        return session.spec


def _shapes_of(session: Session, model: ModelPlan, count: int) -> Mapping[str, Sequence[int]] | None:
    limit_s = INFERENCE_ON_DEVICE_S
    if (model.device or "cpu") == "cpu":
        limit_s = INFERENCE_S
    limit_s = max(limit_s, _PATIENCE * count * session.slowest / NS_PER_S)
    began = time.monotonic_ns()
    with ended_after(limit_s, f"an inference of {model.name}", _REMEDY):
        shapes = session.output_shapes(count)
    session.slowest = max(session.slowest, time.monotonic_ns() - began)
    return shapes


def _shapes_of_two(model: ModelPlan, session: Session) -> Mapping[str, Sequence[int]]:
    try:
        return _shapes_of(session, model, 2) or {}
    except FramepaceError as error:
        reason = error.got or error.what
        message = f"batches above 1 fail in model {model.name!r}, though its file allows them"
        fix = "--set batch=1, or export the model with a dynamic batch"
        raise BatchesFail(message, got=reason, expected="any batch", fix=fix) from error
