"""Which frames are kept where only a share of them is: pure, by their numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from framepace.facts.trace import Column

_GOLDEN = 0x9E3779B1  # of 2^32
_MASK = 0xFFFFFFFF


def sampled(frames: Column, share: float) -> NDArray[np.bool_]:
    """Whether each frame is one of the `share` (0 to 1) that is kept, by its number over all sources.

    Numbers are spread by the golden ratio (Knuth's multiplicative hashing), since sources take turns: of every n-th
    frame all would be of one camera.
    """
    return np.asarray((frames * _GOLDEN & _MASK) < share * (_MASK + 1))
