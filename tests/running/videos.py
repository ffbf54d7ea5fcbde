"""Small videos for runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np

PICTURES = 30


def video(path: Path, pictures: int = PICTURES, size: tuple[int, int] = (48, 64), **options: str) -> str:
    """An H.264 file of so many pictures of (height, width) at 30 per second; its path."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.options = {"preset": "ultrafast", "g": "10", **options}
        for number in range(pictures):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(image, number, 1), format="rgb24")))
        container.mux(stream.encode())
    return str(path)
