"""FP019: batches are waited for and never fill."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from framepace.analyze.account import mean_batch
from framepace.explaining.causes.new_sizes import sets_up_sizes
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import INTERVAL, LATENCY
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.plan import Target
from framepace.facts.settings import text as settings_text
from framepace.facts.workload import Closed, Delay
from framepace.units import NS_PER_MS, format_ms

_FULL = 0.5  # of the largest batch, on average
_MARGIN = 2.0  # times what reading a batch took on average
_SHORTEST_WINDOW_MS = 5.0
_SINGLE: dict[str, Any] = {"batch": 1}


class UnfilledBatches:
    """Frames wait for a batch, or a batch is padded, though hardly more than one frame is ever there.

    Under a load with a rate the frames are not there: without batches each is earlier. A closed loop has as many frames
    as a batch holds, and is run for its throughput: there the batch goes before its frames were read, for want of a
    window or of room, and filling it is tried against single frames by the time per frame.
    """

    code = "FP019"
    title = "batches never fill"
    bottleneck: Bottleneck = "batching"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """The mean batch is under half of what the plan allows; not where sizes are set up as they come (FP025)."""
        largest = _largest(evidence)
        mean = mean_batch(evidence.traces["stream"])
        if largest < 2 or mean == 0 or mean > _FULL * largest or sets_up_sizes(evidence):
            return None
        numbers = {"mean_batch": mean, "largest_batch": largest}
        return Suspicion(f"batches of up to {largest} hold {mean:.1f} frames on average", numbers, 1 - mean / largest)

    def probe(self, evidence: Evidence) -> Probe | tuple[Probe, ...] | str:
        """A batch of one under the same load: with a rate judged by latency, in a closed loop by the time per frame.

        There full batches are tried first, and at last single frames that are as fast and earlier.
        """
        case = evidence.case
        if not _is_closed(evidence):
            return Probe(case, _SINGLE, LATENCY)
        single = Probe(case, _SINGLE, INTERVAL, also=(LATENCY,), competes=True)
        return (*_filling(evidence), single, Probe(case, _SINGLE, LATENCY, also=(INTERVAL,), keeps=INTERVAL))

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """The same settings."""
        if "batch" in blocks.change and _is_closed(evidence):
            return Remedy(text="do not batch: a single frame takes no longer", plan=dict(blocks.change))
        if "batch" in blocks.change:
            return Remedy(text="do not batch: frames come one by one", plan=dict(blocks.change))
        before, after = (format_ms(blocks.value(side, LATENCY).value) for side in (blocks.before, blocks.after))
        text = "let batches fill: room for their frames, and time to read them"
        cost = f"memory for the pictures of a batch; a latency of {after} instead of {before}"
        if not _budget_ends_first(evidence):
            return Remedy(text=text, plan=dict(blocks.change), cost=cost)
        text += (
            f" ({settings_text(blocks.change)}), within a budget that holds a batch (--p99-ms {_budget_ms(evidence)})"
        )
        return Remedy(text=text, cost=cost)


def _largest(evidence: Evidence) -> int:
    return max(model.batch.max for model in evidence.models)


def _is_closed(evidence: Evidence) -> bool:
    """Whether frames follow deliveries, a batch at once; cameras bring theirs at their own pace."""
    workload = evidence.case.workload
    return isinstance(workload.load, Closed | Delay) and not any("://" in name for name in workload.input.sources)


def _filling(evidence: Evidence) -> Iterator[Probe]:
    """The trial of settings with which a batch fills: room for its frames, and a window in which they are read.

    None where the plan has them. Where the frame period ends before a batch is read, the trial is without a budget,
    which is no setting; a budget that was asked for stays, and nothing is tried.
    """
    case = evidence.case
    if _budget_ends_first(evidence):
        if case.plan.target.p99_ms is not None:
            return
        case = replace(case, plan=replace(case.plan, target=Target()))
    window_ms = _longest_window_ms(evidence)
    buffer = case.plan.source.buffer
    longer_ms = max(window_ms, _window_ms(evidence))
    if _per_source(evidence) > buffer or longer_ms > window_ms:
        change = {"buffer": max(buffer, _per_source(evidence)), "window-ms": longer_ms}
        yield Probe(case, change, INTERVAL, also=(LATENCY,))


def _per_source(evidence: Evidence) -> int:
    """Frames of a batch that come from one source."""
    return math.ceil(_largest(evidence) / len(evidence.case.workload.input.sources))


def _reading_ns(evidence: Evidence) -> float:
    return _per_source(evidence) * evidence.stage("decode")


def _budget_ends_first(evidence: Evidence) -> bool:
    """Whether a batch goes before its frames can have been read, because the budget of the oldest is over."""
    return evidence.budget is not None and evidence.budget < _reading_ns(evidence)


def _longest_window_ms(evidence: Evidence) -> float:
    return max(model.batch.window_ms for model in evidence.models)


def _window_ms(evidence: Evidence) -> float:
    """A window in which a batch is read for certain; a batch that is full does not wait for its end."""
    return float(math.ceil(max(_MARGIN * _reading_ns(evidence) / NS_PER_MS, _SHORTEST_WINDOW_MS)))


def _budget_ms(evidence: Evidence) -> int:
    """A budget within which a batch is read and run."""
    return math.ceil(_window_ms(evidence) + evidence.infer("gapless") / NS_PER_MS)
