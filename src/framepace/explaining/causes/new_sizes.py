"""FP025: the library compiles or chooses algorithms when it meets a batch size for the first time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import TAIL
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.trace import Outcome, Trace

_FAR = 2.0  # times the usual inference
_FEWEST = 2  # slow first meetings
_MAIN = 0.5  # of what slow inferences take more
_BLOCK_REQUESTS = 100
_CHANGES: tuple[dict[str, Any], ...] = ({"shapes": "fixed"}, {"batch": 1})


class NewSizes:
    """Each batch size is set up when it first comes, in the middle of the stream."""

    code = "FP025"
    title = "the library sets up each new batch size as it comes"
    bottleneck: Bottleneck = "batching"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Calls with a batch size that a worker never ran before take twice as long and more, and few others do."""
        excess, new = _slow(evidence.traces["stream"])
        if not _mostly_new(excess, new):
            return None
        numbers = {"new_sizes": int(np.count_nonzero(new & (excess > 0))), "excess_ns": float(excess[new].max())}
        share = float(excess[new].max()) / max(float(excess[new].max()) + evidence.latency, 1.0)
        sentence = f"{numbers['new_sizes']} inferences of a batch size that was new took up to "
        return Suspicion(f"{sentence}{numbers['excess_ns'] / 1e6:.3g} ms more", numbers, share)

    def probe(self, evidence: Evidence) -> Probe | tuple[Probe, ...] | str:
        """One size only, and where the file does not allow it single frames.

        Each block in a process of its own: in one process every size is met once.
        """
        return tuple(Probe(evidence.case, change, TAIL, fewest=_BLOCK_REQUESTS, is_fresh=True) for change in _CHANGES)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """The same setting."""
        if "batch" in blocks.change:
            return Remedy(text="do not batch", plan=dict(blocks.change), cost="fewer frames per second at the most")
        cost = "every inference has the largest batch: smaller ones are padded"
        return Remedy(text="put the plan's sizes into the file", plan=dict(blocks.change), cost=cost)


def sets_up_sizes(evidence: Evidence) -> bool:
    """Whether slow inferences of the stream are mostly the first of their batch size."""
    return _mostly_new(*_slow(evidence.traces["stream"]))


def _mostly_new(excess: NDArray[np.float64], new: NDArray[np.bool_]) -> bool:
    return bool(np.count_nonzero(new & (excess > 0)) >= _FEWEST and excess[new].sum() >= _MAIN * excess.sum())


def _slow(trace: Trace) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Of each inference but the first of each worker: what the call took beyond the usual time of its size where that
    is far (ns, else 0), and whether its worker had never run that size.

    Warm-up counts: most sizes come in it, and which of them do not is chance.
    """
    inferences = _one_row_each(trace)
    rows = inferences.requests
    spent = (rows["enqueued"] - rows["started"]).astype(np.float64)  # what waits behind it on a device is no set-up
    new = _first_of(inferences, "worker", "model", "batch_size")
    usual = _usual(spent, rows["batch_size"], new)
    excess = np.where(spent > _FAR * usual, spent - usual, 0.0)
    later = ~_first_of(inferences, "worker", "model")
    return excess[later], new[later]


def _usual(spent: NDArray[np.float64], sizes: NDArray[np.int64], new: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The usual time of each inference: the median of those of its size that were not the first; where there was no
    other, that of the nearest size, in proportion to it.
    """
    medians = _medians(spent[~new], sizes[~new])
    usual = spent.copy()
    for size in map(int, np.unique(sizes)):
        nearest = min(medians, key=lambda other: abs(other - size), default=None)
        if nearest is not None:
            usual[sizes == size] = medians[nearest] * max(1.0, size / nearest)
    return usual


def _medians(spent: NDArray[np.float64], sizes: NDArray[np.int64]) -> dict[int, float]:
    return {int(size): float(np.median(spent[sizes == size])) for size in np.unique(sizes)}


def _one_row_each(trace: Trace) -> Trace:
    """One row for each inference that succeeded, in the order in which they began."""
    done = trace.where(trace.requests["outcome"] == Outcome.OK)
    _, first = np.unique(done.requests["batch_id"], return_index=True)
    keep = np.zeros(len(done), dtype=bool)
    keep[first] = True
    return done.where(keep)


def _first_of(inferences: Trace, *columns: str) -> NDArray[np.bool_]:
    """Whether an inference is the first with its values in these columns."""
    kinds = np.stack([inferences.requests[name] for name in columns], axis=1)
    _, first = np.unique(kinds, axis=0, return_index=True)
    is_first = np.zeros(len(inferences), dtype=bool)
    is_first[first] = True
    return is_first
