"""Samples of what a model answered to its first inputs, so that runs can be held against each other. Standard library.

An input is known by a checksum of values from all over it; of each output so many values are kept.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

CALLS = 8  # of each model, in each arm
_MODELS = 8
_INPUT_VALUES = 4096
_OUTPUT_VALUES = 64
_LARGEST = 1e300  # JSON knows no infinity


class Answers:
    """The answers that were kept and not yet written."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Any]] = []
        self.wanted: dict[int, int] = {}  # by the number of a model
        self._arm = 0
        self._begun = {0}

    def begin(self, arm: int) -> None:
        """The answers from now on are those with the settings of an arm (by its number)."""
        self._arm = arm
        if arm not in self._begun:
            self._begun.add(arm)
            self.wanted.update(dict.fromkeys(self.wanted, CALLS))

    def expect(self, model: int) -> None:
        """A model (by its number), of which the first answers are wanted."""
        if len(self.wanted) < _MODELS:
            self.wanted.setdefault(model, CALLS)

    def keep(self, model: int, feeds: dict[str, Any], outputs: list[Any]) -> None:
        """Keep an answer: `feeds` and `outputs` are arrays of NumPy; what is none is left out."""
        self.wanted[model] -= 1
        sampled = list(map(_sampled, filter(_is_array, outputs)))
        self.kept.append({"input": _checksum(feeds), "outputs": sampled, "arm": self._arm})


def _is_array(value: Any) -> bool:
    return hasattr(value, "flat") and hasattr(value, "dtype") and value.dtype.kind in "fiub"


def _checksum(feeds: dict[str, Any]) -> int:
    checksum = 0
    for name in sorted(feeds):
        if _is_array(feeds[name]):
            checksum = zlib.crc32(_spread(feeds[name], _INPUT_VALUES).tobytes(), checksum)
    return checksum


def _spread(array: Any, count: int) -> Any:
    """So many values from all over an array, which need not lie in one piece."""
    return array.flat[:: max(1, array.size // count)][:count]


def _sampled(array: Any) -> dict[str, Any]:
    values = _spread(array, _OUTPUT_VALUES).astype(float).tolist()
    return {"shape": list(array.shape), "values": list(_finite(values))}


def _finite(values: list[float]) -> Iterator[float | None]:
    for value in values:
        yield value if -_LARGEST < value < _LARGEST else None
