"""What a gRPC call says of its caller, and how errors become its status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from framepace.openinference.errors import GRPC_STATUS, RequestError
from framepace.serving.tokens import brings_token

_MS_PER_S = 1000.0


class Caller:
    """A call's context, as far as it is needed."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._metadata: dict[str, Any] = dict(context.invocation_metadata())
        self._notes: list[tuple[str, str]] = []

    @property
    def client(self) -> str:
        """Who calls: what the client calls itself, else its host."""
        named = self._metadata.get("framepace-client")
        if isinstance(named, str):
            return named
        peer: str = self._context.peer()
        return peer.rpartition(":")[0]

    def milliseconds_left(self) -> float | None:
        """Until the call's deadline; None where it has none."""
        left: float | None = self._context.time_remaining()
        if left is None or left > 1e6:  # gRPC's own word for never, in some versions
            return None
        return max(0.001, left * _MS_PER_S)

    def asks(self, name: str) -> bool:
        """Whether the call brings this metadata."""
        return name in self._metadata

    def note(self, name: str, value: str) -> None:
        """Send metadata behind the answer; of a stream, that of its last one."""
        self._notes = [*(note for note in self._notes if note[0] != name), (name, value)]
        self._context.set_trailing_metadata(self._notes)

    def when_gone(self, act: Callable[[], object]) -> None:
        """Call `act` when the call has ended, whatever ended it."""
        if not self._context.add_callback(act):
            act()

    def gone(self) -> None:
        """The client has gone: nothing is to be sent."""
        self._context.cancel()

    def check_authorised(self, token: str | None) -> None:
        """Raise RequestError for a call without the token."""
        if token is None:
            return
        if not brings_token(str(self._metadata.get("authorization", "")).encode(), token):
            raise RequestError("this server wants a token: metadata 'authorization: Bearer ...'", "unauthorised")

    def fail(self, error: RequestError) -> None:
        """End the call with an error; its numbers travel as metadata. Raises."""
        import grpc

        for name, value in error.details.items():
            self.note(f"framepace-{name.replace('_', '-')}", str(value))
        self._context.abort(getattr(grpc.StatusCode, GRPC_STATUS[error.kind]), error.message)
