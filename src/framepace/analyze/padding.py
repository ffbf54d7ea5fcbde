"""Padding: what a model of a fixed batch computes for frames that are not there."""

from __future__ import annotations

import numpy as np

from framepace.facts.trace import Trace


def padding(measured: Trace) -> dict[str, float]:
    """The share of what was computed that was padding, by name of the models that run no smaller batch.

    Rows of the trace are delivered requests; each inference of b frames has b of them.
    """
    r, names = measured.requests, [model.name for model in measured.meta.plan.models]
    found = {}
    for name, full in measured.meta.fixed_batches.items():
        sizes = r["batch_size"][r["model"] == names.index(name)]
        if len(sizes):
            found[name] = max(0.0, 1 - len(sizes) / (full * float(np.sum(1 / sizes))))
    return found
