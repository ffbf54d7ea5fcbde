"""Which pictures of a source are wanted, as far as that is decided before they are decoded."""

from __future__ import annotations

from typing import Any, Literal

LeavesOut = Literal["NONE", "NONREF", "NONKEY"]
"""Kinds of pictures that a decoder leaves out, by FFmpeg's names: none; those that no other refers to; all but keys."""


class Choice:
    """All of them.

    Attributes:
        leaves_out: which kinds of pictures are left out from now on; any thread may set it.
        catches_up: key frames alone are decoded, since pictures come out far later than they should.
    """

    leaves_out: LeavesOut = "NONE"
    catches_up: bool = False

    def wants(self) -> bool:
        """Whether the next picture is wanted. Asked of pictures that need not be decoded for the sake of others."""
        return True

    def left_out(self, is_key: bool) -> None:
        """A picture was not decoded."""

    def lost(self) -> None:
        """A picture was not decoded, since the source was behind."""


def drained(stream: Any) -> list[Any]:
    """The key frame that the decoder holds back for those behind it, which do not come."""
    codec = stream.codec_context
    if not codec.has_b_frames:
        return []
    pictures = list(codec.decode(None))
    codec.flush_buffers()
    for picture in pictures:
        picture.time_base = stream.time_base
    return pictures
