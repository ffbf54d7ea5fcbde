"""The base of every fact, and the mark of a field that people set by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec


class Fact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen record; `msgspec` validates types, ranges and unknown fields when one is read from a file."""


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
