"""What goes wrong with a request, by the kinds that the protocol's two transports tell apart."""

from __future__ import annotations

from typing import Literal

Kind = Literal[
    "invalid", "not found", "unavailable", "exhausted", "expired", "unsupported", "internal", "too large",
    "unauthorised", "cancelled", "method", "slow",
]  # fmt: skip
"""'exhausted': there is no room for it now; 'expired': its deadline has passed; 'slow': its sender took too long."""

HTTP_STATUS: dict[Kind, int] = {
    "invalid": 400,
    "not found": 404,
    "unavailable": 503,
    "exhausted": 503,
    "expired": 503,
    "unsupported": 501,
    "internal": 500,
    "too large": 413,
    "unauthorised": 401,
    "cancelled": 499,
    "method": 405,
    "slow": 408,
}
"""Status codes of HTTP; where Triton means the same, they are its own (HttpCodeFromError in its http_server.cc)."""

GRPC_STATUS: dict[Kind, str] = {
    "invalid": "INVALID_ARGUMENT",
    "not found": "NOT_FOUND",
    "unavailable": "UNAVAILABLE",
    "exhausted": "RESOURCE_EXHAUSTED",
    "expired": "DEADLINE_EXCEEDED",
    "unsupported": "UNIMPLEMENTED",
    "internal": "INTERNAL",
    "too large": "RESOURCE_EXHAUSTED",
    "unauthorised": "UNAUTHENTICATED",
    "cancelled": "CANCELLED",
    "method": "UNIMPLEMENTED",
    "slow": "DEADLINE_EXCEEDED",
}
"""Names of gRPC's status codes."""


class RequestError(Exception):
    """A request that is not answered: why, in the words of the protocol, and of which kind.

    Args:
        details: numbers for whoever sent it, such as how long it would have waited.
    """

    def __init__(
        self, message: str, kind: Kind = "invalid", details: dict[str, float | int | str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind: Kind = kind
        self.details = details or {}

    def again(self) -> RequestError:
        """A new one that says the same: one that is raised again and again keeps the frames of all that raised it."""
        return RequestError(self.message, self.kind, dict(self.details))

    @property
    def status(self) -> int:
        """Its status code of HTTP."""
        return HTTP_STATUS[self.kind]
