"""Frames for calibration: decoded from what the plan names and prepared as the plan says, one batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from framepace.errors import SourceError
from framepace.facts.plan import ModelPlan
from framepace.models.inputs import staging_array
from framepace.models.spec import Resolved
from framepace.video.prepare import Preparer
from framepace.video.source import decode_all, open_source

FRAMES = 64
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_HELD_BYTES = 512 << 20
# A minute and a half at 30 fps. Sought pictures would start at key frames, which are not what the others look like.
_READ = 3000
# Every 16th picture first: calibrators take the scale of their histograms from the first few.
_STEP = 16


def calibration_key(model: ModelPlan) -> str:
    """What the frames are: another file, or the same one changed, calibrates anew."""
    where = model.calibration or ""
    path = Path(where)
    files = _files(path) if path.is_dir() else [path] if path.is_file() else []
    return "\n".join([where, *(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)])


def prepared_inputs(model: ModelPlan, resolved: Resolved) -> PreparedInputs:
    """Model inputs by name for up to FRAMES frames spread over `model.calibration`, in batches of the plan.

    A video counts for its first 3000 frames. Raises SourceError for what cannot be read, at once.
    """
    image = resolved.image
    pictures = pictures_of(model.calibration or "") if image is not None else [None] * FRAMES
    return PreparedInputs(model, resolved, pictures)


class PreparedInputs(Sequence[dict[str, Any]]):
    """Inputs by name, made when they are asked for: pictures are held as they were decoded, never all prepared.

    The last batch is filled up with the first pictures. Inputs that take no picture hold what `staging_array` draws.
    """

    def __init__(self, model: ModelPlan, resolved: Resolved, pictures: Sequence[Any]) -> None:
        self._resolved, self._pictures, image = resolved, pictures, resolved.image
        self._batch, self._prepare = 1, None
        if image is not None:
            self._batch = resolved.shapes[image.name][0]
            size = (image.height, image.width)
            self._prepare = Preparer(model.prepare, size, image.layout, image.channels, image.dtype)

    def __len__(self) -> int:
        return -(-len(self._pictures) // self._batch)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        inputs = {t.name: np.empty(self._resolved.shapes[t.name], t.dtype) for t in self._resolved.inputs}
        for tensor in self._resolved.inputs:
            staging_array(tensor, inputs[tensor.name])
        if self._resolved.image is not None and self._prepare is not None:
            for place, item in enumerate(inputs[self._resolved.image.name]):
                self._prepare(self._pictures[(index * self._batch + place) % len(self._pictures)], item)
        return inputs


def pictures_of(where: str) -> list[Any]:
    """Pictures of a video or a folder, those far apart first, so that a few stand for all. Raises SourceError."""
    path = Path(where)
    found = _folder(path) if path.is_dir() else _video(where)
    return [picture for start in range(_STEP) for picture in found[start::_STEP]]


def _folder(path: Path) -> list[Any]:
    files = _files(path)
    if not files:
        raise SourceError("the folder holds no pictures", got=path, expected=", ".join(_PICTURES))
    return [decode_all(str(file), 1)[0] for file in _spread(files)]


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.suffix.lower() in _PICTURES)


def _video(where: str) -> list[Any]:
    """Every nth frame; n doubles whenever as many are held as may be, since nobody knows how many will come."""
    if "://" in where and not where.startswith("file://"):
        fix = "record a minute of it"
        raise SourceError("a stream cannot be calibrated on", got=where, expected="a video file", fix=fix)
    source, kept, step, most = open_source(where, loop=False), list[Any](), 1, 2 * FRAMES
    try:
        for number, picture in enumerate(islice(iter(source.read, None), _READ)):
            if number % step == 0:
                kept.append(picture)
            if number == 0:
                most = max(2, min(most, _HELD_BYTES // _bytes(picture)))
            if len(kept) >= most:
                kept, step = kept[::2], step * 2
    finally:
        source.close()
    return _spread(kept)


def _spread(found: list[Any]) -> list[Any]:
    return [found[i] for i in np.linspace(0, len(found) - 1, min(FRAMES, len(found))).astype(int)]


def _bytes(picture: Any) -> int:
    return sum(plane.buffer_size for plane in picture.planes)
