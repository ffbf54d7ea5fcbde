"""A model that a server runs: its inputs and outputs as the server's metadata says them."""

from __future__ import annotations

import hashlib

import msgspec

from framepace.errors import ModelError
from framepace.facts.model import ModelSpec, TensorSpec
from framepace.openinference.client.address import served_model
from framepace.openinference.client.documents import Tensor
from framepace.openinference.client.model import asked
from framepace.openinference.datatypes import NUMPY_NAMES

SERVED = "served"
"""The format of a model of a server, of which no file is known."""
BATCH = "batch"
"""The first axis of tensors of a model that takes batches."""
_OPEN = "?"


def inspect(location: str) -> ModelSpec:
    """What the server says of the model; `sha256` is over that, for its file is not known.

    Raises UsageError for an address that is none, ModelError for a model that the server does not have, BackendError
    where no server answers.
    """
    model = served_model(location)
    with asked(model) as remote:
        metadata = remote.metadata()
        configuration = remote.configuration()
    largest = 0 if configuration is None else configuration.max_batch_size
    return ModelSpec(
        name=model.name,
        location=location,
        sha256=hashlib.sha256(msgspec.json.encode(metadata)).hexdigest(),
        inputs=tuple(_tensor(tensor, largest > 0) for tensor in metadata.inputs),
        outputs=tuple(_tensor(tensor, largest > 0) for tensor in metadata.outputs),
        format=SERVED,
    )


def largest_batch(location: str) -> int | None:
    """How many items the server takes in a request; None where it does not say, or takes no batches."""
    with asked(served_model(location)) as remote:
        configuration = remote.configuration()
    return None if configuration is None else configuration.max_batch_size or None


def _tensor(tensor: Tensor, batched: bool) -> TensorSpec:
    if tensor.datatype not in NUMPY_NAMES:
        expected = ", ".join(NUMPY_NAMES)
        problem = f"{tensor.name!r} has a datatype that the protocol does not know"
        raise ModelError(problem, got=tensor.datatype, expected=expected, fix="look at the server's configuration")
    shape = [_OPEN if size < 0 else size for size in tensor.shape]
    if batched and shape and shape[0] == _OPEN:
        shape[0] = BATCH
    return TensorSpec(name=tensor.name, dtype=NUMPY_NAMES[tensor.datatype], shape=tuple(shape))
