"""Frames of a thread that decodes and has others infer, and goes on when all have done: pure, from calls."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from framepace.attaching.frame import Frame, Inference, Picture

_NEARLY_ALL = 0.9


def frames_in_step(pictures: Sequence[Picture], inferences: Sequence[Inference]) -> list[Frame] | None:
    """The frames of which each is a picture and all that is inferred before the next one is decoded.

    None where inferences of a picture go on while the next is decoded, or one thread makes all of them: then threads
    hand pictures on to each other.

    Args:
        pictures: of one thread, in order.
        inferences: of the threads that decode nothing.
    """
    if len({inference.thread for inference in inferences}) < 2:
        return None
    begins = [picture.begin for picture in pictures]
    frames: dict[int, Frame] = {}
    astray = 0
    for inference in sorted(inferences, key=lambda inference: inference.begin):
        place = bisect_right(begins, inference.begin) - 1
        if place < 0 or bisect_right(begins, inference.end) - 1 != place:
            astray += 1
            continue
        picture = pictures[place]
        frame = frames.setdefault(place, Frame(picture.thread, picture.end, [], [picture]))
        frame.inferences.append(inference)
    if astray > (1 - _NEARLY_ALL) * len(inferences):
        return None
    return list(frames.values())
