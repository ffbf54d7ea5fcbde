"""Lines of text out of scanned pages, as pictures that a recogniser takes: 320 x 48, for `accuracy --metric text`.

    python bench/text_lines.py PICTURE [...] --out FOLDER

Rows of paper divide lines, and gaps between words divide a line into pieces that are not narrowed by the resize.
FOLDER/calibration and FOLDER/judged get every other piece.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.models.convert.calibration import pictures_of
from framepace.video.stills import png

_WIDTH = 320
_HEIGHT = 48
_MARGIN = 4  # pixels of paper around a line, of the height that it gets
_INK = 128  # darker is ink
_LEAST_HEIGHT = 12  # pixels: less is a speck or a rule
_TALLEST = 1.8  # of the median line: taller are several lines that no row of paper divides

Picture = NDArray[np.uint8]


def runs(marked: NDArray[np.bool_], gap: int) -> Iterator[tuple[int, int]]:
    """First and end of each stretch of marked places, where fewer than `gap` unmarked ones between do not divide."""
    places = np.flatnonzero(marked)
    if not places.size:
        return
    breaks = np.flatnonzero(np.diff(places) > gap)
    firsts = [places[0], *places[breaks + 1]]
    ends = [*places[breaks], places[-1]]
    for first, end in zip(firsts, ends, strict=True):
        yield int(first), int(end) + 1


def pieces(page: Picture) -> Iterator[Picture]:
    """The lines of a grey page, divided where they are too long."""
    lines = [line for line in runs(np.any(page < _INK, axis=1), gap=1) if line[1] - line[0] >= _LEAST_HEIGHT]
    tallest = _TALLEST * np.median([bottom - top for top, bottom in lines])
    for top, bottom in lines:
        if bottom - top <= tallest:
            yield from _divided(page[top:bottom], bottom - top)


def _divided(line: Picture, height: int) -> Iterator[Picture]:
    """Pieces of whole words, as long as the recogniser takes them."""
    longest = height * (_WIDTH - 2 * _MARGIN) // (_HEIGHT - 2 * _MARGIN)
    words = list(runs(np.any(line < _INK, axis=0), gap=height // 5))
    while words:
        fitting = [word for word in words if word[1] - words[0][0] <= longest] or words[:1]
        yield line[:, words[0][0] : fitting[-1][1]]
        words = words[len(fitting) :]


def fitted(piece: Picture) -> Picture:
    """The piece on paper of 320 x 48, at its own proportions, as RGB."""
    from fractions import Fraction

    import av

    scale = Fraction(_HEIGHT - 2 * _MARGIN, piece.shape[0])
    width = min(_WIDTH - 2 * _MARGIN, max(1, round(piece.shape[1] * scale)))
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(piece), format="gray")
    small = frame.reformat(width, _HEIGHT - 2 * _MARGIN, interpolation="AREA").to_ndarray(format="gray")
    paper = np.full((_HEIGHT, _WIDTH), 255, np.uint8)
    paper[_MARGIN:-_MARGIN, _MARGIN : _MARGIN + width] = small
    return np.repeat(paper[:, :, None], 3, axis=2)


def grey(picture: Any) -> Picture:
    """A decoded picture in grey levels."""
    levels: Picture = picture.to_ndarray(format="gray")
    return levels


def main() -> None:
    """Write the pieces of all pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    pages = [grey(picture) for name in options.pictures for picture in pictures_of(name)]
    made = [fitted(piece) for page in pages for piece in pieces(page)]
    for name in ("calibration", "judged"):
        (options.out / name).mkdir(parents=True, exist_ok=True)
    for number, piece in enumerate(made):
        half = ("calibration", "judged")[number % 2]
        (options.out / half / f"{number:04d}.png").write_bytes(png(piece))
    print(f"{len(made)} pieces of text")


if __name__ == "__main__":
    main()
