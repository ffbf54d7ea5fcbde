"""The video of bench/gpu_video.py, and how many streams of it are decoded side by side."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.video.source import open_source

Row = dict[str, Any]
SIZE, FRAMES = (1080, 1920), 150
SMALL_SIZE, SMALL_FRAMES = (144, 256), 40
COUNTS = {"gpu": (1, 8, 32), "host": (1, 16)}
READ_EACH = 240  # frames a stream


def encoded(folder: Path, small: bool) -> Path:
    """H.264 at 30 frames/s with B-frames, made on first use."""
    path = folder / ("small.mp4" if small else "video.mp4")
    if not path.is_file():
        size, frames = (SMALL_SIZE, SMALL_FRAMES) if small else (SIZE, FRAMES)
        partial = path.with_suffix(".part.mp4")
        write(partial, scenes(size, frames), "libx264", "yuv420p", {"preset": "veryfast", "crf": "23", "bf": "2"})
        partial.rename(path)
    return path


def scenes(size: tuple[int, int], frames: int) -> Iterator[NDArray[np.uint8]]:
    """Waves of colour that pan, a block that moves, a little noise: uint8 RGB."""
    height, width = size
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    waves = (np.sin(x / 37) * np.cos(y / 53), np.cos(x / 71) * np.sin(y / 29 + 1), np.sin((x + y) / 61))
    image = np.stack([127 + 100 * wave for wave in waves], axis=-1) + rng.normal(0, 4, (height, width, 3))
    background = np.clip(image, 0, 255).astype(np.uint8)
    for step in range(frames):
        picture = np.roll(background, 4 * step, axis=1)
        left = step * width // frames
        picture[height // 4 : height // 2, left : left + width // 8] = (230, 60, 20)
        yield picture


def write(
    path: Path, pictures: Iterator[NDArray[np.uint8]], codec: str, pixels: str, options: dict[str, str] | None = None
) -> None:
    """Encode pictures to a file. Raises what PyAV does where it has no such encoder."""
    import av

    with av.open(str(path), "w") as container:
        stream: Any = None
        for picture in pictures:
            if stream is None:
                stream = container.add_stream(codec, rate=30, options=options or {})
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = pixels
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())


def streams(folder: Path, small: bool) -> Iterator[Row]:
    """Frames per second and CPU time a frame, opening not included, by who decodes and how many streams."""
    video = str(encoded(folder, small))
    for place, counts in COUNTS.items():
        for count in counts[:1] if small else counts:
            if small and place == "gpu":
                continue
            yield {"decoder": place, "streams": count, **_decoded(video, count, 0 if place == "gpu" else None, small)}


def _decoded(video: str, count: int, gpu: int | None, small: bool) -> Row:
    try:
        sources = [open_source(video, gpu=gpu) for _ in range(count)]
    except Exception as error:  # that many decoders may be too many
        return {"error": str(error).replace("\n", " / ")[:300]}
    began, cpu = time.perf_counter(), time.process_time()
    reads = SMALL_FRAMES if small else READ_EACH
    threads = [threading.Thread(target=_read, args=(source, reads)) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    notes = sorted({note for source in sources for note in source.notes})
    for source in sources:
        source.close()
    total = reads * count
    return {"frames_s": round(total / seconds, 1), "cpu_ms_frame": round(cpu * 1e3 / total, 3), "notes": notes[:3]}


def _read(source: Any, reads: int) -> None:
    for _ in range(reads):
        source.read()
