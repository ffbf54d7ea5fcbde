"""The options of a backend, checked before it starts: a wrong value is a UsageError, never a traceback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from framepace.errors import UsageError
from framepace.facts.bounded import Option


def checked(backend: str, kinds: type[Any], options: Mapping[str, Option]) -> dict[str, Option]:
    """`options` with the types of the struct `kinds`; texts such as '5' and 'true' are converted.

    Raises UsageError for a value that is out of range or of another type.
    """
    try:
        typed = msgspec.convert(dict(options), kinds, strict=False)
    except msgspec.ValidationError as error:
        problem = f"an option of backend {backend} cannot have that value"
        raise UsageError(problem, got=dict(options), expected=str(error)) from error
    return {key: getattr(typed, key) for key in options}
