"""Shapes of a network's inputs, as a configuration of Triton says them, for a plan; and what is open there. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from framepace.exporting.pbtxt import Message, listed

Shape = tuple[int, ...]
_OPEN = -1


def shapes_of(message: Message) -> dict[str, Shape]:
    """The shapes of the inputs that are closed, batch included: one frame where the server adds the batch.

    An open first size beside closed ones is a batch where the server adds none, and is one frame as well.
    """
    shapes = {name: _with_batch(shape, message) for name, shape in _declared(message)}
    return {name: shape for name, shape in shapes.items() if _OPEN not in shape}


def open_shapes(name: str, message: Message) -> Iterator[str]:
    """What a plan takes for sizes that are open in the configuration of model `name`, as sentences."""
    for tensor, declared in _declared(message):
        shape = _with_batch(declared, message)
        words = "x".join("?" if size == _OPEN else str(size) for size in declared)
        if _OPEN in shape:
            yield (
                f"{name}: open sizes of {tensor} ({words}) are those of the file; where it leaves them open too, name "
                f"them: --size WIDTHxHEIGHT for a picture, else --shape {tensor}=..."
            )
        elif _OPEN in declared:
            yield f"{name}: the open first size of {tensor} ({words}) is taken for a batch, of 1"


def _declared(message: Message) -> Iterator[tuple[str, Shape]]:
    """Inputs and their shapes in the network, without the batch where the server adds it."""
    for tensor in listed(message, "input"):
        part = tensor.get("reshape", {})
        dims = listed(part, "shape") if "shape" in part else listed(tensor, "dims")
        if "name" in tensor and ("shape" in part or "dims" in tensor):
            yield str(tensor["name"]), tuple(int(size) for size in dims)


def _with_batch(shape: Shape, message: Message) -> Shape:
    if int(message.get("max_batch_size", 0)) > 0:
        return (1, *shape)
    if len(shape) > 1 and shape[0] == _OPEN and _OPEN not in shape[1:]:
        return (1, *shape[1:])
    return shape
