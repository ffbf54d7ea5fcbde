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
    if _is_stretched_yolo(network):
        tell(f"{model.name} was trained on letterboxed pictures and gets stretched ones: --set resize=letterbox")
    if model.prepare.hook:
        tell(f"boxes of {model.name} are placed as if its preparation hook kept the whole picture")
    return Reader(model.post, network, tell)


def _is_stretched_yolo(network: Network) -> bool:
    """Whether ultralytics, which trains all but classifiers and RT-DETR on letterboxed pictures, made the file."""
    metadata = network.metadata
    others = metadata.get("task") == "classify" or metadata.get("head") == "RTDETRDecoder"
    return metadata.get("author") == "Ultralytics" and not others and network.resize == "stretch"
