"""How well outputs fit a family."""

from __future__ import annotations

from enum import IntEnum


class Fit(IntEnum):
    """Whether outputs are a family's: they cannot be; they may be, and others' too; nothing else is like them."""

    NO = 0
    LIKELY = 1
    SURE = 2


def sure_if(holds: object, otherwise: Fit = Fit.LIKELY) -> Fit:
    """Sure where something holds, else less."""
    return Fit.SURE if holds else otherwise
