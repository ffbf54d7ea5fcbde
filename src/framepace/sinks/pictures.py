"""Pictures of results as arrays, for one sink."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.video.prepare import Scaler, as_rgb


class Pictures:
    """Makes uint8 RGB arrays [height, width, 3] of pictures that other threads may read at the same time.

    A frame's own `to_ndarray` uses a converter that belongs to the frame and to no thread: two sinks that called it at
    once have hung for ever.
    """

    def __init__(self) -> None:
        self._scaler: Scaler | None = None
        self._converting = threading.Lock()

    def __call__(self, picture: Any) -> NDArray[np.uint8]:
        """The picture as an array; one that is an array is itself."""
        if isinstance(picture, np.ndarray):
            return picture
        with self._converting:
            if self._scaler is None:
                self._scaler = Scaler("rgb24")
            return as_rgb(self._scaler.to_rgb(picture))
