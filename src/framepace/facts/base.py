"""The base of every fact: frozen, keyword-only, strict about unknown fields."""

from __future__ import annotations

import msgspec


class Fact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen record; `msgspec` validates types, ranges and unknown fields when one is read from a file."""
