"""The reader of a model: from its outputs to its answer."""

from __future__ import annotations

from collections.abc import Callable

from framepace.facts.answers import Answer, Tensors
from framepace.facts.postprocess import Post
from framepace.hooks import load_hook
from framepace.postprocess.network import Network, Outputs

Size = tuple[int, int]
_Read = Callable[[Outputs, Size], Answer]


class Reader:
    """Reads the outputs of one model; any thread may call it.

    Attributes:
        note: a sentence on how its outputs are read, or why they are not; '' before the first.
    """

    def __init__(self, post: Post, network: Network) -> None:
        self.note = ""
        self._read = _reading(post, network)

    def __call__(self, outputs: Outputs, picture: Size) -> Answer:
        """What the model says about a picture of (height, width), in its pixels.

        Raises PlanError where a function of the user's fails.
        """
        return self._read(outputs, picture)


def _reading(post: Post, network: Network) -> _Read:
    if ":" in post.read:
        hook: _Read = load_hook(post.read)
        return hook
    return lambda outputs, picture: Tensors(dict(outputs))
