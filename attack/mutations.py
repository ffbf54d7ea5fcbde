"""Damage to valid inputs: bytes, JSON-like documents and words. Everything follows from the random generator."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from typing import Any

CANARY = "C4n4ryPassw0rd"
ADDRESSES = (
    f"rtsp://admin:{CANARY}@127.0.0.1:9/stream",
    f"rtsp://admin:p@ss/{CANARY}@127.0.0.1:9/stream",
    f"http://127.0.0.1:9/video.cgi?user=admin&password={CANARY}",
    f"https://admin:{CANARY}@127.0.0.1:9/x?token={CANARY}",
)
NUMBERS = (
    "nan", "inf", "-inf", "-1", "0", "-0.0", "1e-308", "1e400", "²", "٣", "1_0", "0x10", "1" * 23, "9" * 5000, "1e", "",
    "--", "x", "None", "1,5", " 1", "1..1000000000", "3..1", "1x1", "99999x99999", "0x0", "\ud800", "\x00", "a" * 5000,
)  # fmt: skip
"""Texts where a number is expected; none of them is a long time."""
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**62, -(2**63), 2**64, 10**23, 0.5, -0.5, 1e-308, 1e308, "", "x", "²", "nan",
    "a" * 5000, "\x00", "../../../etc/passwd", "/dev/zero", [], {}, [[]], [None], {"": None}, [1, "a"], *ADDRESSES,
)  # fmt: skip


def grown(seed: int, count: int = 300) -> list[Any]:
    """Values that Hypothesis makes of all that JSON has."""
    import hypothesis as hy
    from hypothesis import strategies as st

    plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
    nested = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)
    values: list[Any] = []

    @hy.seed(seed)
    @hy.settings(
        max_examples=count,
        database=None,
        deadline=None,
        suppress_health_check=list(hy.HealthCheck),
        phases=[hy.Phase.generate],
    )
    @hy.given(nested)
    def collect(value: Any) -> None:
        values.append(value)

    collect()
    return values


def value(rng: random.Random, pool: Sequence[Any]) -> Any:
    """A value that is probably wrong where it will stand; some are of `pool`."""
    return copy.deepcopy(rng.choice(_VALUES if rng.random() < 0.6 else pool))  # documents are damaged in place


def bytes_of(data: bytes, rng: random.Random) -> bytes:
    """`data` with one to eight places changed; sometimes cut, or nearly whole."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        if not changed:
            changed = bytearray(rng.randbytes(rng.randrange(64)))
        place = rng.randrange(len(changed) + 1)
        rng.choice(_DAMAGES)(changed, place, rng)
    return bytes(changed)


def _flip(data: bytearray, place: int, rng: random.Random) -> None:
    if place < len(data):
        data[place] ^= 1 << rng.randrange(8)


def _set(data: bytearray, place: int, rng: random.Random) -> None:
    data[place : place + 1] = bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))])


def _large(data: bytearray, place: int, rng: random.Random) -> None:
    """A number of four or eight bytes that is very large."""
    width = rng.choice((4, 8))
    data[place : place + width] = rng.choice((b"\xff", b"\x7f")) * width


def _varint(data: bytearray, place: int, rng: random.Random) -> None:
    data[place:place] = b"\xff" * rng.randrange(1, 10) + b"\x01"


def _insert(data: bytearray, place: int, rng: random.Random) -> None:
    data[place:place] = rng.randbytes(rng.choice((1, 4, 64)))


def _remove(data: bytearray, place: int, rng: random.Random) -> None:
    del data[place : place + rng.choice((1, 4, 64, 1024))]


def _repeat(data: bytearray, place: int, rng: random.Random) -> None:
    data[place:place] = data[place : place + rng.choice((1, 16, 256))] * rng.choice((1, 2, 50))


def _cut(data: bytearray, place: int, rng: random.Random) -> None:
    del data[place:]


def _move(data: bytearray, place: int, rng: random.Random) -> None:
    other = rng.randrange(len(data) + 1)
    piece = bytes(data[other : other + 32])
    data[place : place + len(piece)] = piece


_Damage = Callable[[bytearray, int, random.Random], None]
_DAMAGES: tuple[_Damage, ...] = (
    _flip, _flip, _set, _set, _large, _varint, _insert, _remove, _repeat, _cut, _move,
)  # fmt: skip


def document(data: Any, rng: random.Random, pool: Sequence[Any]) -> Any:
    """A JSON-like document with one to three of its places changed."""
    changed = copy.deepcopy(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = list(_places(changed))
        if not places:
            return value(rng, pool)
        holder, key = rng.choice(places)
        _change(holder, key, rng, pool)
    return changed


def _places(data: Any) -> list[tuple[Any, Any]]:
    """Every (mapping or list, key) in it."""
    places: list[tuple[Any, Any]] = []
    pending = [data]
    while pending:
        holder = pending.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else []
        for key in keys:
            places.append((holder, key))
            pending.append(holder[key])
    return places


def _change(holder: Any, key: Any, rng: random.Random, pool: Sequence[Any]) -> None:
    action = rng.random()
    if action < 0.65:
        holder[key] = value(rng, pool)
    elif action < 0.8:
        del holder[key]
    elif action < 0.9 and isinstance(holder, dict):
        holder[str(value(rng, pool))[:50]] = holder.pop(key)
    elif isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif isinstance(holder[key], int | float):
        holder[key] = holder[key] * rng.choice((-1, 0, 1e9, 1e-9))
    else:
        holder[key] = [holder[key]] * rng.choice((1, 2, 50))
