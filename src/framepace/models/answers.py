"""From a plan's model to the reader of its outputs."""

from __future__ import annotations

from collections.abc import Callable

from framepace.facts.plan import ModelPlan
from framepace.models.resolved import Resolved
from framepace.models.spec import metadata
from framepace.postprocess.network import Network
from framepace.postprocess.reader import Reader


def answer_reader(model: ModelPlan, resolved: Resolved, tell: Callable[[str], None] = lambda note: None) -> Reader:
    """The reader of a model's outputs, as its plan says (`model.post`); `tell` is called with how they are read.

    Raises PlanError for a function that cannot be imported, UsageError for another family or file of names.
    """
    image = resolved.image
    size = None
    if image is not None and not model.is_native:
        size = (image.height, image.width)
    network = Network(name=model.name, size=size, resize=model.prepare.resize, metadata=metadata(model.model))
    return Reader(model.post, network, tell)
