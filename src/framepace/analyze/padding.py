"""Padding: what a model that runs batches of some sizes only computes for frames that are not there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from framepace.facts.trace import Trace

_WORTH_TELLING = 0.05


def padding(measured: Trace) -> dict[str, float]:
    """The share of what was computed that was padding, by name of the models that run batches of some sizes only.

    Rows of the trace are delivered requests; each inference of b frames has b of them.
    """
    r, names = measured.requests, measured.meta.names
    found = {}
    for name, made in measured.meta.batch_sizes.items():
        frames = r["batch_size"][r["model"] == names.index(name)]
        if len(frames):
            run = np.asarray(made)[np.searchsorted(made, frames).clip(max=len(made) - 1)]
            found[name] = max(0.0, 1 - len(frames) / float(np.sum(run / frames)))
    return found


def padding_notes(trace: Trace) -> Iterator[str]:
    """A sentence for what is padded alike, where it is worth one."""
    alike: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for name, share in padding(trace.measured()).items():
        if share >= _WORTH_TELLING:
            alike.setdefault((f"{share:.0%}", trace.meta.batch_sizes[name]), []).append(name)
    for (share_text, sizes), names in alike.items():
        run = f"batches of {', '.join(map(str, sizes))} are run, often not full"
        yield f"{', '.join(names)}: {share_text} of the work was padding: {run}"
