"""Compressed bodies, within bounds."""

from __future__ import annotations

import zlib
from functools import lru_cache

from framepace.openinference.errors import RequestError

_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_LEAST = 256  # bytes that are worth it
_LEVEL = 1  # tensors hardly shrink, and nobody waits for a few per cent


def decompressed(body: bytes | bytearray, encoding: str, most: int) -> bytes | bytearray:
    """The body as it was before `Content-Encoding`. Raises RequestError for one that is damaged or too large."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in _WINDOWS:
        raise RequestError(f"Unsupported compression type: {encoding[:40]}", "unsupported")
    decoder = zlib.decompressobj(_WINDOWS[encoding])
    try:
        data = decoder.decompress(body, most + 1)
    except zlib.error as error:
        raise RequestError(f"the body is no {encoding}: {error}") from None
    if len(data) > most:
        raise RequestError(f"Request body exceeds maximum of {most} bytes", "too large")
    if not decoder.eof or decoder.unused_data:
        raise RequestError(f"the body is no whole {encoding}")
    return data


def compressed(body: bytes, accepted: str) -> tuple[bytes, str]:
    """The body in the encoding that `Accept-Encoding` likes best, and its name; '' where it stays as it is."""
    if len(body) < _LEAST:
        return body, ""
    encoding = _preferred(accepted)
    if not encoding:
        return body, ""
    encoder = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOWS[encoding])
    return encoder.compress(body) + encoder.flush(), encoding


@lru_cache(maxsize=64)
def _preferred(accepted: str) -> str:
    best = ""
    best_weight = 0.0
    for part in accepted.split(","):
        name, _, parameters = part.strip().partition(";")
        weight = _weight(parameters)
        if name.strip().lower() in _WINDOWS and weight > best_weight:
            best = name.strip().lower()
            best_weight = weight
    return best


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
