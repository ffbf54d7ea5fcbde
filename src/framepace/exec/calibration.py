"""Frames for calibration: decoded from what the plan names and prepared as the plan says, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from framepace.errors import SourceError
from framepace.exec.models import Resolved
from framepace.exec.prepare import Preparer
from framepace.exec.source import SYNTHETIC, decode_all
from framepace.facts.plan import ModelPlan

FRAMES = 64
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def calibration_key(model: ModelPlan) -> str:
    """What the frames are: another file, or the same one changed, calibrates anew."""
    where = model.calibration or ""
    path = Path(where)
    files = sorted(path.iterdir()) if path.is_dir() else [path] if path.is_file() else []
    return "\n".join([where, *(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)])


def prepared_inputs(model: ModelPlan, resolved: Resolved) -> Iterator[dict[str, Any]]:
    """Model inputs by name for up to FRAMES frames of `model.calibration`, in batches of the plan.

    Raises SourceError for what cannot be read, at once.
    """
    image = resolved.image
    pictures = iter(_pictures(model.calibration or SYNTHETIC)) if image is not None else iter([None] * FRAMES)
    return _inputs(model, resolved, pictures)


def _inputs(model: ModelPlan, resolved: Resolved, pictures: Iterator[Any]) -> Iterator[dict[str, Any]]:
    image, rng = resolved.image, np.random.default_rng(0)
    prepare = None
    if image is not None:
        size = (image.height, image.width)
        prepare = Preparer(model.prepare, size, image.layout, image.channels, image.dtype)
    for first in pictures:
        inputs = {t.name: _drawn(t.dtype, resolved.shapes[t.name], rng) for t in resolved.inputs}
        if image is not None and prepare is not None:
            for place, picture in zip(inputs[image.name], _with(first, pictures), strict=False):
                prepare(picture, place)
        yield inputs


def _with(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _drawn(dtype: str, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    if np.dtype(dtype).kind == "f":
        return rng.random(shape, dtype=np.float32).astype(dtype)
    return rng.integers(0, 2, shape).astype(dtype)


def _pictures(where: str) -> list[Any]:
    path = Path(where)
    if not path.is_dir():
        return decode_all(where, FRAMES)
    files = [file for file in sorted(path.iterdir()) if file.suffix.lower() in _PICTURES]
    if not files:
        raise SourceError("the folder holds no pictures", got=path, expected=", ".join(_PICTURES))
    chosen = [files[i] for i in np.linspace(0, len(files) - 1, min(FRAMES, len(files))).astype(int)]
    return [decode_all(str(file), 1)[0] for file in chosen]
