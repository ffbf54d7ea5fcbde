"""The states of a model: outputs that come back with the next frame of the same source, zero at first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.errors import BackendError
from framepace.models.batchaxis import part
from framepace.models.resolved import Resolved
from framepace.video.frame import Frame

Tensors = Mapping[str, NDArray[Any]]


class States:
    """What one model keeps between the frames of each source.

    All workers of a run share it: the feed hands out the frames of a source one after the other.
    """

    def __init__(self, resolved: Resolved) -> None:
        self._resolved = resolved
        self._kept: dict[int, dict[str, NDArray[Any]]] = {}  # by source, then by input

    def write(self, frame: Frame, inputs: Tensors, place: int) -> None:
        """Write what the source's last frame left into place `place`."""
        kept = self._kept.get(frame.source, {})
        for name in self._resolved.states:
            into = part(inputs[name], place, self._resolved.axis(name))
            into[...] = kept.get(name, np.zeros((), into.dtype))

    def keep(self, frames: Sequence[Frame], outputs: Tensors, axes: Mapping[str, int]) -> None:
        """Keep what an inference of `frames` left; `axes` are the batch axes of the outputs.

        Raises BackendError for an output that does not fit the input that it comes back to.
        """
        for place, frame in enumerate(frames):
            kept = self._kept.setdefault(frame.source, {})
            for name, output in self._resolved.states.items():
                value = part(outputs[output], place, axes.get(output))
                self._check(name, output, value)
                kept[name] = value.copy()  # the library writes its next outputs there

    def _check(self, name: str, output: str, value: NDArray[Any]) -> None:
        shape = list(self._resolved.shapes[name])
        axis = self._resolved.axis(name)
        if axis is not None:
            shape[axis] = 1
        if list(value.shape) != shape:
            message = f"output {output!r} does not fit input {name!r}, to which it is fed back"
            fix = f"give the input the output's shape: --shape {name}={'x'.join(map(str, value.shape))}"
            if value.ndim != len(shape):
                fix = "name another output, or leave out --state"
            raise BackendError(message, got=f"shape {list(value.shape)}", expected=f"shape {shape}", fix=fix)
