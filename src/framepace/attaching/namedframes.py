"""The frames that a program named: pure, from the calls of one process."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from framepace.attaching.calls import Calls
from framepace.attaching.frame import Frame, Inference, Picture, inferences_of, pictures_of


def named_frames(calls: Calls) -> Iterator[Frame]:
    """The frames that the program named, as far as something was inferred in them."""
    within = calls.where(calls.frame > 0)
    order = np.argsort(within.frame, kind="stable")
    starts = np.flatnonzero(np.diff(within.frame[order], prepend=0))
    for rows in np.split(order, starts[1:]):
        own = within.where(rows)
        inferences = _inferences(own)
        if inferences and (own.stage == "frame").any():
            yield _frame(own, inferences)


def _inferences(calls: Calls) -> list[Inference]:
    threads = np.unique(calls.thread).tolist()
    found = [inference for thread in threads for inference in inferences_of(calls, thread)]
    return sorted(found, key=lambda inference: inference.begin)


def _frame(calls: Calls, inferences: list[Inference]) -> Frame:
    """The frame whose calls these are: from its first block's begin to its last one's end."""
    blocks = calls.where(calls.stage == "frame")
    began = int(blocks.begin.min())
    pictures = [picture for several in pictures_of(calls).values() for picture in several]
    thread = int(calls.thread[calls.stage == "infer"][0])
    return Frame(
        thread,
        taken=max([_entered(blocks, thread, inferences[0].begin), *(picture.end for picture in pictures)]),
        inferences=inferences,
        pictures=pictures or [Picture(-1, began, began)],
        delivered=max(inferences[-1].end, int(blocks.end.max())),
    )


def _entered(blocks: Calls, thread: int, before: int) -> int:
    """When the thread that infers entered the frame; when it began, where that thread did not."""
    own = blocks.begin[(blocks.thread == thread) & (blocks.begin <= before)]
    return int(own.max(initial=blocks.begin.min()))
