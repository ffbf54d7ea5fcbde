"""Pictures with those before them, for models that look back: optical flow, clips."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class Moment:
    """A picture of a source and those before it, the newest last.

    Attributes:
        number: how many pictures the source had shown before the newest.
    """

    number: int
    pictures: tuple[Any, ...]

    def back(self, steps: int) -> Any:
        """The picture `steps` before the newest; the first one where there was none yet."""
        return self.pictures[max(0, len(self.pictures) - 1 - steps)]


def newest(picture: Any) -> Any:
    """The picture itself, or the newest of a moment."""
    if isinstance(picture, Moment):
        return picture.pictures[-1]
    return picture


def sides(picture: Any) -> tuple[int, int]:
    """(height, width) of a picture (an av.VideoFrame, or an array), or of the newest of a moment."""
    picture = newest(picture)
    if isinstance(picture, np.ndarray):
        return picture.shape[0], picture.shape[1]
    return picture.height, picture.width


def before(picture: Any, steps: int) -> Any:
    """The picture `steps` before a moment's newest; a picture without a past is its own."""
    if isinstance(picture, Moment):
        return picture.back(steps)
    return picture


def pictures(picture: Any) -> tuple[Any, ...]:
    """All pictures of a moment, or the one."""
    if isinstance(picture, Moment):
        return picture.pictures
    return (picture,)


def without_pictures(picture: Any) -> Moment | None:
    """A moment that says only how many pictures it had; nothing of a single picture."""
    if isinstance(picture, Moment):
        return Moment(picture.number, (None,) * len(picture.pictures))
    return None


def with_pictures(empty: Moment | None, taken_from: Iterator[Any]) -> Any:
    """The inverse of `without_pictures`: takes as many pictures as there were; None when there are none."""
    if empty is None:
        return next(taken_from, None)
    return Moment(empty.number, tuple(islice(taken_from, len(empty.pictures))))


class Readable(Protocol):
    """A source of pictures (see feeds.feed.PictureSource)."""

    @property
    def live(self) -> bool:
        """Whether the source sets the pace."""

    def read(self) -> Any:
        """The next picture, or None at the end."""


class Remembering:
    """A source whose pictures come as moments, with the `steps` pictures before them. One thread reads at a time."""

    def __init__(self, source: Readable, steps: int) -> None:
        self._source = source
        self._pictures: deque[Any] = deque(maxlen=steps + 1)
        self._count = 0

    @property
    def live(self) -> bool:
        """Whether the source sets the pace."""
        return self._source.live

    def read(self) -> Moment | None:
        """The next moment, or None at the end."""
        picture = self._source.read()
        if picture is None:
            return None
        self._pictures.append(picture)
        self._count += 1
        return Moment(self._count - 1, tuple(self._pictures))
