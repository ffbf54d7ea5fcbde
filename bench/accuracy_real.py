"""Networks of others in FP16 (emulated) and INT8: as they are, mended with N nodes in FP32, or refused with the reason.

    python bench/accuracy_real.py NETWORK [...] --video FILE|FOLDER [--set NAME=VALUE ...] [--metric text] [--json]

Every other frame of the source is what INT8 is calibrated on, the others judge; half of these find the nodes, half
check them. `bench/network_exports.py` makes networks. The search may take `--seconds` (told as stopped).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import framepace
from framepace.errors import FramepaceError
from framepace.facts.accuracy import agreement_text
from framepace.facts.mending import Mended
from framepace.models.convert.calibration import pictures_of
from framepace.video.stills import png

_PRECISIONS = ("fp16", "int8")


@dataclass(frozen=True)
class Frames:
    """Folders of pictures: to calibrate on, and to judge by."""

    calibration: Path
    judged: Path


def divided(video: str, count: int, folder: Path) -> Frames:
    """Up to `count` pictures in each of the two folders."""
    frames = Frames(folder / "calibration", folder / "judged")
    pictures = pictures_of(video)[: 2 * count]
    for half, path in enumerate((frames.calibration, frames.judged)):
        path.mkdir()
        for number, picture in enumerate(pictures[half::2]):
            (path / f"{number:04d}.png").write_bytes(png(picture))
    return frames


def verdict(mended: Mended) -> str:
    """What came out, in words."""
    before = agreement_text(mended.before)
    if mended.refused:
        reached = f"{agreement_text(mended.searched)} (without: {before})"
        late = ", by the end of the time" if mended.out_of_time else ""
        return f"refused: {len(mended.kept)} of {mended.nodes} nodes in FP32 are not enough{late}: {reached}"
    if not mended.kept:
        return f"as it is: {before}"
    after = agreement_text(mended.held_out or mended.searched)
    words = f"{len(mended.kept)} of {mended.nodes} nodes in FP32: {after} (without: {before})"
    if not mended.complete:
        words = f"{words}; stopped before the end"
    if not mended.holds:
        return f"refused: {'; '.join((mended.held_out or mended.searched).why)}; {words}"
    return f"mended, {words}"


def answers(network: str, frames: Frames, settings: Mapping[str, Any], options: Any) -> Iterator[dict[str, Any]]:
    """A row per precision."""
    for precision in _PRECISIONS:
        began = time.monotonic()
        try:
            mended = framepace.mend(
                network, None, precision,
                frames=options.frames, price=False, metric=options.metric, time_limit=options.seconds,
                videos=[str(frames.judged)], settings={**settings, "calibration": str(frames.calibration)},
            )  # fmt: skip
            answer = verdict(mended)
        except FramepaceError as error:
            answer = f"refused: {error.what} ({error.got})"
        seconds = round(time.monotonic() - began)
        row = {"network": Path(network).stem, "precision": precision, "answer": answer, "seconds": seconds}
        print(f"| {row['network']} | {precision} | {answer} | {seconds} s |", file=sys.stderr, flush=True)
        yield row


def main() -> None:
    """Print a row per network and precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--video", required=True)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=120.0, help="per network and precision")
    parser.add_argument("--metric")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    settings = dict(pair.split("=", 1) for pair in options.settings)
    with tempfile.TemporaryDirectory() as name:
        frames = divided(options.video, options.frames, Path(name))
        rows = [row for network in options.networks for row in answers(network, frames, settings, options)]
    if options.json:
        print(json.dumps({"rows": rows}, indent=2))
        return
    for row in rows:
        print("  ".join(str(value) for value in row.values()))


if __name__ == "__main__":
    main()
