"""When the pictures of a video file are to be shown, as the file says, and how even that is."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from framepace.deadline import within
from framepace.errors import SourceError
from framepace.inputfile import shown
from framepace.units import NS_PER_S
from framepace.video.file import OPEN_S, open_file

_MOST_PACKETS = 1_000_000  # nine hours at 30 frames per second
_READ_S = 60.0
_FIX = "name a video file with --video, or give a rate with --fps"
_TIMELESS = "give a rate with --fps in place of --load file; a raw stream has times in a container (mp4, mkv) only"


def frame_times(path: str) -> tuple[NDArray[np.int64], int]:
    """When each picture is shown (ns after the first, ascending), and after how long (ns) the file starts again.

    Raises SourceError for what is no file, or one without times.
    """
    if "://" in path or not Path(path).exists():
        raise SourceError("only a video file has times of its own", got=shown(path), expected="a video file", fix=_FIX)
    times = _read_in_time(path)
    if len(times) < 2:
        raise SourceError(
            "the video has no frame times", got=shown(path), expected="two pictures with times", fix=_TIMELESS
        )
    gaps = np.diff(times)
    return times - times[0], int(times[-1] - times[0] + np.median(gaps))


def _read_in_time(path: str) -> NDArray[np.int64]:
    return within(
        OPEN_S + _READ_S,
        "the times of the video cannot be read",
        partial(_read, path),
        got=shown(path),
        fix=_FIX,
        error=SourceError,
    )


def _read(path: str) -> NDArray[np.int64]:
    """Times in ns, ascending; packets without one are left out."""
    container, stream = open_file(path)
    try:
        times = []
        for packet in container.demux(stream):
            if packet.pts is not None and packet.size:
                times.append(packet.pts)
            if len(times) >= _MOST_PACKETS:
                break
        tick_ns = float(stream.time_base) * NS_PER_S
    finally:
        container.close()
    return np.unique((np.sort(np.asarray(times, np.float64)) * tick_ns).astype(np.int64))
