"""From a loaded model to the step that a pipeline runs: a worker of its own, and the preparation of its image input."""

from __future__ import annotations

from typing import Any

from framepace.backends.base import Session, Worker
from framepace.engine.pipeline import Prepare, Step
from framepace.errors import ModelError
from framepace.facts.plan import ModelPlan
from framepace.facts.workload import Scope
from framepace.models.spec import Resolved
from framepace.video.prepare import Preparer


def make_step(index: int, model: ModelPlan, session: Session, scope: Scope, picture: Any, worker: Worker) -> Step:
    """Model `index` as a worker of its session runs it; its staging holds `picture`. Called in the worker's thread.

    Raises ModelError for a model without an image input that is to be fed pictures; the worker is closed then.
    """
    try:
        prepare = _preparer(model, session.resolved, scope)
        image = session.resolved.image
        if prepare is None or image is None:
            return Step(index, model.name, worker, model.batch.max, None, None)
        for slot in range(worker.slots):
            for place in worker.staging(slot)[image.name]:
                if picture is not None:
                    prepare(picture, place)
    except BaseException:
        worker.close()
        raise
    if scope == "model" or model.prepare.constant:
        return Step(index, model.name, worker, model.batch.max, None, None)
    return Step(index, model.name, worker, model.batch.max, image.name, prepare)


def _preparer(model: ModelPlan, resolved: Resolved, scope: Scope) -> Prepare | None:
    image = resolved.image
    if image is None:
        if scope == "model":
            return None
        shapes = {i.name: i.shape for i in resolved.inputs}
        fix = "measure it with --scope model, or say which layout its image input has with --layout"
        raise ModelError(f"model {model.name!r} has no image input", got=shapes, expected="a rank-4 input", fix=fix)
    return Preparer(model.prepare, (image.height, image.width), image.layout, image.channels, image.dtype)
