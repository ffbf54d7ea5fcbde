"""Names for the frames and stages of a program of one's own, which `framepace attach` writes into its trace.

Standard library only, and nothing is done where nothing is attached: a `with` block then costs a tenth of a microsecond
or two.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import Any


class _Unobserved:
    """A block that nobody observes."""

    __slots__ = ()

    def __enter__(self) -> _Unobserved:
        return self

    def __exit__(self, *error: object) -> None:
        return None


_UNOBSERVED = _Unobserved()
_marks: Any = getattr(sys.modules.get("_framepace_probe"), "marks", None)


def frame() -> AbstractContextManager[Any]:
    """One frame of a program: what is decoded and inferred in the block belongs to it.

    The block gives the frame, which can be entered again where another thread goes on with it:
    `with framepace.frame() as frame: frames.put((frame, picture))`, and there `with frame: session.run(...)`. Tasks of
    asyncio, and functions that `asyncio.to_thread` runs, are in the frame in which they were made; those of an executor
    are not. A frame lasts from its first block's begin to its last one's end.
    """
    if _marks is None:
        return _UNOBSERVED
    return _marks.frame()  # type: ignore[no-any-return]


def stage(name: str) -> AbstractContextManager[Any]:
    """A stage of a program by name; it may lie in a frame, and in other stages. The time per frame is in the trace."""
    if _marks is None:
        return _UNOBSERVED
    return _marks.stage(name)  # type: ignore[no-any-return]
