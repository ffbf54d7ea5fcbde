"""Compressed bodies, within bounds."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepace.openinference.compression import compressed, decompressed
from framepace.openinference.errors import RequestError


@given(st.binary(max_size=2000), st.sampled_from(["gzip", "deflate", "gzip;q=0.5, deflate;q=0.2", "br, gzip"]))
def test_what_was_compressed_is_the_same_again(body: bytes, accepted: str) -> None:
    """In the encoding that was accepted."""
    data, encoding = compressed(body, accepted)
    assert encoding in accepted
    assert decompressed(data, encoding, 2000) == body


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    """A hundred megabytes of nothing in a hundred kilobytes."""
    with pytest.raises(RequestError) as caught:
        decompressed(gzip.compress(bytes(100 << 20)), "gzip", 1 << 20)
    assert caught.value.status == 413


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"no", "gzip", 400),
        (gzip.compress(b"abc", mtime=0)[:-4], "gzip", 400),
        (gzip.compress(b"abc", mtime=0) + b"more", "gzip", 400),
        (zlib.compress(b"abc"), "gzip", 400),
        (b"abc", "br", 501),
    ],
)
def test_damaged_and_unknown_encodings_are_refused(body: bytes, encoding: str, status: int) -> None:
    """A torn body, one with more behind it, another encoding than was said."""
    with pytest.raises(RequestError) as caught:
        decompressed(body, encoding, 1 << 20)
    assert caught.value.status == status


def test_small_bodies_and_unknown_wishes_stay_as_they_are() -> None:
    """Nothing is gained by them."""
    assert compressed(b"a", "gzip") == (b"a", "")
    assert compressed(b"a" * 1000, "br, *;q=0") == (b"a" * 1000, "")
    assert compressed(b"a" * 1000, "gzip;q=0") == (b"a" * 1000, "")
