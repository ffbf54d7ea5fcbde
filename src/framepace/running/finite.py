"""Whether the outputs of models are numbers: the trace marks those that are not, and a run says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from framepace.engine.packedrows import unpacked
from framepace.facts.trace import REQUEST_COLUMNS, Mark

_MODEL = tuple(REQUEST_COLUMNS).index("model")
_ADVICE = "check the input's range (scale, mean, std) and the precision of the model"
_MARKS = tuple(REQUEST_COLUMNS).index("marks")


class NotFinite:
    """Says once of each model that its outputs are NaN or infinite.

    Args:
        models: their names, by their numbers in the rows.
        note: takes the sentence.
    """

    def __init__(self, models: Sequence[str], note: Callable[[str], None]) -> None:
        self._models = models
        self._note = note
        self._told: set[int] = set()

    def take(self, rows: bytes) -> None:
        """Look at packed rows of a trace."""
        table = unpacked(rows)
        marked = table[(table[:, _MARKS] & Mark.NAN) != 0, _MODEL]
        for model in set(np.unique(marked).tolist()) - self._told:
            self._told.add(model)
            name = dict(enumerate(self._models)).get(model, "a model")  # a canary may have more of them
            self._note(f"outputs of {name} are NaN or infinite, and what is read from them means nothing: {_ADVICE}")
