"""A frame on its way: the picture, where it came from, and the stamps it has collected so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Frame:
    """One frame; times in ns as in `facts.trace.REQUEST_COLUMNS`. `picture` is None in the scope 'model'."""

    number: int
    source: int
    due: int
    available: int
    captured: int
    decoded: int
    queued: int
    picture: Any = None
