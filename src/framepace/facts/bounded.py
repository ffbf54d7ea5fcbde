"""Types of plans and workloads with their bounds, which hold wherever a value comes from."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from framepace.values import (
    HIGHEST_RATE,
    LARGEST_DIMENSION,
    LARGEST_SIDE,
    LONGEST_MS,
    LONGEST_NAME,
    LONGEST_PATH,
    LOWEST_RATE,
    SHORTEST_MS,
)

LARGEST_OPTION = 1 << 53  # a whole number that every reader of JSON has exactly
_LARGEST_FACTOR = 1e12
_LARGEST_NUMBER = 1e18

Positive = Annotated[int, Meta(ge=1, le=LARGEST_OPTION)]
NonNegative = Annotated[float, Meta(ge=0, le=_LARGEST_NUMBER)]
PositiveNumber = Annotated[float, Meta(gt=0, le=_LARGEST_NUMBER)]
Milliseconds = Annotated[float, Meta(ge=0, le=LONGEST_MS)]
PositiveMilliseconds = Annotated[float, Meta(ge=SHORTEST_MS, le=LONGEST_MS)]
Rate = Annotated[float, Meta(ge=LOWEST_RATE, le=HIGHEST_RATE)]
SmShare = Positive | Annotated[str, Meta(pattern=r"^(?!0)(100|\d\d?)%$")]  # SMs, or a share of all: '50%'
Dimension = Annotated[int, Meta(ge=0, le=LARGEST_DIMENSION)]  # an input may be of no length
Side = Annotated[int, Meta(ge=1, le=LARGEST_SIDE)]
Size = tuple[Side, Side]
Native = Literal["native"]
NATIVE: Final = "native"  # every picture at its own size
Factor = Annotated[float, Meta(ge=-_LARGEST_FACTOR, le=_LARGEST_FACTOR)]
Location = Annotated[str, Meta(max_length=LONGEST_PATH)]
Name = Annotated[str, Meta(max_length=LONGEST_NAME)]
Hook = Annotated[str, Meta(max_length=LONGEST_NAME)]
Option = str | Annotated[int, Meta(ge=-LARGEST_OPTION, le=LARGEST_OPTION)] | float | bool
