"""The base of every fact, and the mark of a field that people set by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from framepace.facts.address import without_secrets


class Fact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen record; `msgspec` validates types, ranges and unknown fields when one is read from a file.

    What is shown of it has no secrets of addresses: they are in its fields alone.
    """

    def __repr__(self) -> str:
        return super(Fact, without_secrets(self)).__repr__()

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return super(Fact, without_secrets(self)).__rich_repr__()


@dataclass(frozen=True, eq=False)
class Setting:
    """Marks a field that `--set` and `--vary` change, and says what it is: `Annotated[int, Setting(help=...)]`.

    Args:
        name: what people type; the field's name with '-' for '_' by default.
        help: one phrase that says what the setting is.
        why: what a plan gains from the setting and what it pays, for people who read the plan.
        why_value: the same for single values, as they are typed; it comes before `why`.
    """

    name: str = ""
    help: str = field(default="", kw_only=True)
    why: str = field(default="", kw_only=True)
    why_value: Mapping[str, str] = field(default_factory=dict, kw_only=True)
