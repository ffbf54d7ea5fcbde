"""framepace: why a neural network on video misses its frame budget, proven by intervention, and fixed.

One function a verb: `bench`, `explain`, `sweep`, `tune`, `capacity`, `compare`, `report`, `doctor`; and `summary` of a
trace. They are loaded when first used, so that importing framepace costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framepace.api import bench, capacity, compare, doctor, explain, make_case, report, summary, sweep, tune

__version__ = "0.1.0"
__all__ = ["bench", "capacity", "compare", "doctor", "explain", "make_case", "report", "summary", "sweep", "tune"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'framepace' has no attribute {name!r}")
    from framepace import api

    return getattr(api, name)
