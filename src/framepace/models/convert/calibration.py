"""Frames for calibration: decoded from what the plan names and prepared as the plan says, one batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from framepace.errors import SourceError
from framepace.facts.plan import ModelPlan
from framepace.models.filling import Write, input_filler
from framepace.models.inputs import staged
from framepace.models.spec import Resolved
from framepace.video.frame import Frame
from framepace.video.source import decode_all, open_source

FRAMES = 64
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_HELD_BYTES = 512 << 20
# A minute and a half at 30 fps. Pictures found by seeking would all be key frames, which do not look like the others.
_FRAMES_READ = 3000
# Every 16th picture first: calibrators take the scale of their histograms from the first few.
_STEP = 16


def calibration_key(model: ModelPlan) -> str:
    """A text that changes with the frames: another file, or the same one changed, calibrates anew."""
    location = model.calibration or ""
    path = Path(location)
    files: list[Path] = []
    if path.is_dir():
        files = _files(path)
    elif path.is_file():
        files = [path]
    return "\n".join([location, *(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)])


def prepared_inputs(model: ModelPlan, resolved: Resolved) -> PreparedInputs:
    """Model inputs by name for up to FRAMES frames spread over `model.calibration`, in batches of the plan.

    A video counts for its first 3000 frames. Raises SourceError for what cannot be read, at once.
    """
    pictures = [None] * FRAMES
    if resolved.image is not None:
        pictures = pictures_of(model.calibration or "")
    return PreparedInputs(model, resolved, pictures)


class PreparedInputs(Sequence[dict[str, Any]]):
    """Inputs by name, made when they are asked for: pictures are held as they were decoded, never all prepared.

    The last batch is filled up with the first pictures. Inputs that take no picture hold what `inputs.fill` says.
    """

    def __init__(self, model: ModelPlan, resolved: Resolved, pictures: Sequence[Any]) -> None:
        self._resolved = resolved
        self._pictures = pictures
        self._batch = 1
        self._write: Write | None = None
        if resolved.image is not None:
            axis = resolved.axis(resolved.image.name)
            if axis is not None:
                self._batch = resolved.shapes[resolved.image.name][axis]
            self._write = input_filler(model, resolved)

    def __len__(self) -> int:
        return -(-len(self._pictures) // self._batch)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        inputs = {tensor.name: staged(self._resolved, tensor) for tensor in self._resolved.inputs}
        self._fill_image(inputs, index * self._batch)
        return inputs

    def _fill_image(self, inputs: dict[str, Any], first: int) -> None:
        """Prepare pictures from number `first` on into the image inputs, if there are any."""
        if self._write is None:
            return
        for place in range(self._batch):
            number = first + place
            self._write(Frame(number, 0, 0, 0, 0, 0, 0, self._pictures[number % len(self._pictures)]), inputs, place)


def pictures_of(location: str, gpu: int | None = None) -> list[Any]:
    """Pictures of a video or a folder, those far apart first, so that a few stand for all. Raises SourceError.

    With `gpu` (CUDA's number) that GPU decodes a video.
    """
    path = Path(location)
    pictures = _read_folder(path) if path.is_dir() else _read_video(location, gpu)
    return [picture for start in range(_STEP) for picture in pictures[start::_STEP]]


def counted(location: str, most: int) -> int:
    """How many pictures there are, counted up to `most`. Raises SourceError."""
    path = Path(location)
    if path.is_dir():
        return min(most, len(_files(path)))
    source = open_source(location, loop=False)
    try:
        return sum(1 for _ in islice(iter(source.read, None), most))
    finally:
        source.close()


def _read_folder(path: Path) -> list[Any]:
    files = _files(path)
    if not files:
        fix = "name a folder that has some, or a video"
        raise SourceError("the folder holds no pictures", got=path, expected=", ".join(_PICTURES), fix=fix)
    return [decode_all(str(file), 1)[0] for file in _spread(files)]


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.suffix.lower() in _PICTURES)


def _read_video(location: str, gpu: int | None) -> list[Any]:
    if "://" in location and not location.startswith("file://"):
        fix = "record a minute of it"
        raise SourceError("a stream cannot be calibrated on", got=location, expected="a video file", fix=fix)
    source = open_source(location, loop=False, gpu=gpu)
    try:
        return _spread(_thin_out(islice(iter(source.read, None), _FRAMES_READ)))
    finally:
        source.close()


def _thin_out(pictures: Iterator[Any]) -> list[Any]:
    """Every nth picture; n doubles whenever memory is full, since nobody knows how many will come."""
    kept: list[Any] = []
    step = 1
    capacity = 2 * FRAMES
    for number, picture in enumerate(pictures):
        if number == 0:
            capacity = max(2, min(capacity, _HELD_BYTES // _bytes(picture)))
        if number % step == 0:
            kept.append(picture)
        if len(kept) >= capacity:
            kept = kept[::2]
            step *= 2
    return kept


def _spread(items: list[Any]) -> list[Any]:
    """Up to FRAMES items at equal distances."""
    return [items[i] for i in np.linspace(0, len(items) - 1, min(FRAMES, len(items))).astype(int)]


def _bytes(picture: Any) -> int:
    return sum(plane.buffer_size for plane in picture.planes)
