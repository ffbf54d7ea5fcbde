"""The reader of a model: from its outputs to its answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from framepace.facts.answers import Answer, Tensors
from framepace.facts.postprocess import Post
from framepace.hooks import load_hook
from framepace.postprocess.families import Family, decided, family
from framepace.postprocess.names import names_in_file, names_of
from framepace.postprocess.network import Network, Outputs, View, view_of
from framepace.postprocess.placement import Size

_ADVICE = "say what it is: --set post=FAMILY, or post=module:function; post=none keeps the tensors without a word"


class Reader:
    """Reads the outputs of one model; any thread may call it.

    With 'auto' the family is the only one that the outputs of a frame are certain to be of; it is decided once. Until
    then, and where it never is, the answer are the tensors.

    Attributes:
        note: a sentence on how its outputs are read, or why they are not; '' before the first and where nothing is to
            be said.
    """

    def __init__(self, post: Post, network: Network, tell: Callable[[str], None] = lambda note: None) -> None:
        """`tell` is called with every new note.

        Raises PlanError for a function that cannot be imported, UsageError for another family or file of names.
        """
        self.note = ""
        self._tell = tell
        self._post = post
        self._network = network
        self._names = names_in_file(post.names) if post.names else names_of(network.metadata)
        self._hook = load_hook(post.read) if ":" in post.read else None
        self._family: Family | None = None
        if self._hook is None and post.read not in ("auto", "none"):
            self._family = family(post.read)

    def __call__(self, outputs: Outputs, picture: Size) -> Answer:
        """What the model says about a picture of (height, width), in its pixels.

        The outputs are not needed afterwards; a function of the user's has to copy what it keeps of them. Raises
        PlanError where it fails.
        """
        if self._hook is not None:
            answer: Answer = self._hook(dict(outputs), picture)
            return answer
        if self._post.read == "none":
            return _kept(outputs)
        view = view_of(outputs, self._network, self._names, self._network.size or picture)
        return self._answer(view, outputs, picture)

    def _answer(self, view: View, outputs: Outputs, picture: Size) -> Answer:
        if self._family is None:
            self._decide(view)
        family = self._family
        if family is None:
            return _kept(outputs)
        if not family.shape(view):
            self._say(f"that are not those of {family.name} stay tensors: {shapes(view)}")
            return _kept(outputs)
        return family.read(view, self._post, picture, self._network.resize)

    def _decide(self, view: View) -> None:
        self._family, possible = decided(view)
        if self._family is not None:
            self._say(f"are read as {self._family.name} ({self._family.help})")
            return
        names = " or ".join(one.name for one in possible)
        reason = f"they may be {names}" if possible else "no family has such"
        self._say(f"stay tensors: {reason}: {shapes(view)}; {_ADVICE}")

    def _say(self, how: str) -> None:
        note = f"outputs of {self._network.name} {how}"
        if note != self.note:
            self.note = note
            self._tell(note)


def _kept(outputs: Outputs) -> Tensors:
    """The outputs, copied: a worker's buffers are used again."""
    return Tensors({name: np.array(array) for name, array in outputs.items()})


def shapes(view: View) -> str:
    """The outputs with their shapes."""
    return ", ".join(f"{name} {list(array.shape)}" for name, array in view.arrays.items())
