"""Encoded pictures from anyone: JPEG, PNG, WebP or BMP, decoded to a frame, within bounds.

No container is opened: what names other files or addresses (a playlist, say) is no picture here.
"""

from __future__ import annotations

from typing import Any

from framepace.errors import SourceError
from framepace.values import LARGEST_PICTURE, LARGEST_SIDE

_MAGIC = {
    b"\xff\xd8\xff": "mjpeg",
    b"\x89PNG\r\n\x1a\n": "png",
    b"RIFF": "webp",
    b"BM": "bmp",
}
EXPECTED = "JPEG, PNG, WebP or BMP"


def decoded(data: bytes) -> Any:
    """The picture as an av.VideoFrame. Raises SourceError for what is none, is damaged or is too large."""
    import av

    codec = _codec(data)
    try:
        frames = codec.decode(av.Packet(data))
    except (av.FFmpegError, ValueError, MemoryError) as error:
        reason = " ".join(str(error).split())
        raise SourceError("the picture is damaged or too large", got=reason, expected=EXPECTED) from error
    if len(frames) != 1:
        raise SourceError("the data holds no whole picture", got=f"{len(data)} bytes", expected=EXPECTED)
    frame = frames[0]
    if max(frame.width, frame.height) > LARGEST_SIDE:
        got = f"{frame.width}x{frame.height}"
        raise SourceError("the picture is too large", got=got, expected=f"at most {LARGEST_SIDE} pixels a side")
    return frame


def _codec(data: bytes) -> Any:
    """A new decoder: one of PNG that was used before mixes the pictures (FFmpeg 8 gives a wrong one, silently)."""
    import av

    codec: Any = av.CodecContext.create(_codec_name(data), "r")
    codec.thread_count = 1
    codec.options = {"max_pixels": str(LARGEST_PICTURE), "err_detect": "explode"}
    return codec


def _codec_name(data: bytes) -> str:
    for magic, name in _MAGIC.items():
        if data.startswith(magic):
            return name
    raise SourceError("the data is no picture", got=f"{len(data)} bytes", expected=EXPECTED)
