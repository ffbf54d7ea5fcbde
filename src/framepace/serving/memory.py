"""A region of memory that a client registered, whatever it is made of."""

from __future__ import annotations

from typing import Any, Literal, Protocol

Kind = Literal["system", "cuda"]


class Memory(Protocol):
    """A region: named, of so many bytes, read and written by copies. It is given back when nobody holds it any more."""

    @property
    def name(self) -> str:
        """What clients call it."""
        ...

    @property
    def size(self) -> int:
        """Its bytes, as the client named them."""
        ...

    @property
    def kind(self) -> Kind:
        """What it is made of."""
        ...

    def document(self) -> dict[str, Any]:
        """As the protocol has it."""
        ...

    def read(self, offset: int, into: memoryview) -> None:
        """Read from `offset` of the region on. Raises RequestError where that cannot be."""
        ...

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write from `offset` of the region on. Raises RequestError where that cannot be."""
        ...
