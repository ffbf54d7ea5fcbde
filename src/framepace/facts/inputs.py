"""What goes into the inputs of a model, by their names."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from framepace.facts.base import Fact
from framepace.facts.bounded import Location, Name

MOST_PICTURES = 4096  # of a clip


class Window(Fact, frozen=True, kw_only=True):
    """A clip of the last `pictures` pictures of a source, `stride` pictures apart; every new picture slides it on."""

    pictures: Annotated[int, Meta(ge=1, le=MOST_PICTURES)]
    stride: Annotated[int, Meta(ge=1, le=MOST_PICTURES)] = 1

    @property
    def before(self) -> int:
        """How many pictures before the newest the oldest of a clip is."""
        return (self.pictures - 1) * self.stride


class Inputs(Fact, frozen=True, kw_only=True):
    """Inputs by name; those that are not named are found by their shapes.

    `images` take the picture, `previous` the one before of the same source (the first: itself). `states` are outputs
    by the input that gets them back with the next picture of the same source; they are zero at first. `values` are
    numbers, lists or texts as they are typed, or files of them (.npy, .npz). `window` makes clips of the pictures.
    """

    images: tuple[Name, ...] = ()
    previous: tuple[Name, ...] = ()
    states: dict[Name, Name] = {}
    values: dict[Name, Location] = {}
    window: Window | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every input that is named."""
        return (*self.images, *self.previous, *self.states, *self.values)
