"""The token that calls must bring: `Authorization: Bearer TOKEN`, over HTTP and as metadata of gRPC."""

from __future__ import annotations

import hmac

_SCHEME = b"bearer"


def brings_token(authorization: bytes, token: str) -> bool:
    """Whether the value of a header brings the token; the name of the scheme is in any case (RFC 9110, 11.1)."""
    scheme, _, sent = authorization.strip().partition(b" ")
    return scheme.lower() == _SCHEME and hmac.compare_digest(sent.strip(), token.encode())
