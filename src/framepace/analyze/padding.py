"""Padding: what models with fixed batch sizes compute for frames that are not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from framepace.facts.trace import Trace

_WORTH_TELLING = 0.05  # share of the work


def padding(measured: Trace) -> dict[str, float]:
    """The share of what was computed that was padding, by name of the models that run fixed batch sizes only.

    Rows of the trace are delivered requests; each inference of b frames has b of them.
    """
    model = measured.requests["model"]
    shares = {}
    for name, sizes in measured.meta.batch_sizes.items():
        frames = measured.requests["batch_size"][model == measured.meta.names.index(name)]
        if len(frames):
            run = np.asarray(sizes)[np.searchsorted(sizes, frames).clip(max=len(sizes) - 1)]
            shares[name] = max(0.0, 1 - len(frames) / float(np.sum(run / frames)))
    return shares


def padding_notes(shares: Mapping[str, float], batch_sizes: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    """A sentence for each group of models that are padded alike; `shares` as `padding` gives them."""
    alike: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for name, share in shares.items():
        if share >= _WORTH_TELLING:
            alike.setdefault((f"{share:.0%}", batch_sizes[name]), []).append(name)
    for (share_text, sizes), names in alike.items():
        run = f"batches of {', '.join(map(str, sizes))} are run, often partly filled"
        yield f"{', '.join(names)}: {share_text} of the work was padding: {run}"
