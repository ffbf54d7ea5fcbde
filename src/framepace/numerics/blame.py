"""Which node of the user's file a refused precision breaks, found in seconds: for the sentence that refuses it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from framepace.analyze.agreement import worst_frames
from framepace.clock.system import Clock
from framepace.errors import FramepaceError
from framepace.facts.accuracy import Agreement
from framepace.facts.mending import Fault, NetworkNode
from framepace.facts.plan import ModelPlan
from framepace.facts.workload import Input
from framepace.numerics.hunt import hunted
from framepace.numerics.ranking import Rank
from framepace.numerics.trials import Trials
from framepace.numerics.trying import trials_of
from framepace.progress import Tell
from framepace.units import NS_PER_S


@dataclass(frozen=True)
class Blamed:
    """The node to blame on a frame: the `fault` with which NaN or infinity begins, or its `error` when it alone is low.

    `error` is a relative L2 error, None where an output is not finite. `complete`: all nodes were tried in the time.
    """

    node: NetworkNode
    frame: int
    fault: Fault | None = None
    error: float | None = None
    complete: bool = True


class _TimeIsUp(Exception):
    """Ends what tells its progress."""


def blamed(model: ModelPlan, input: Input, refused: Agreement, seconds: float, clock: Clock) -> Blamed | None:
    """The node that breaks a precision on the frame that agrees least; None where it is not known within `seconds`.

    `input` and the number of frames are those that `refused` is of. Emulated on the CPU, whatever refused it.
    """
    worst = worst_frames(refused, 1)
    if not worst or model.precision == "fp32":
        return None
    frame = worst[0].frame
    tell = _limit(seconds, clock)
    try:
        trials = trials_of(model, input, model.precision, refused.frames, only=frame, gate=refused.gate, tell=tell)
        return _first_fault(trials, frame, tell) or _most_costly(trials, frame, tell)
    except (FramepaceError, _TimeIsUp):
        return None


def _limit(seconds: float, clock: Clock) -> Tell:
    """A callback that raises _TimeIsUp when the time is."""
    end = clock.now() + round(seconds * NS_PER_S)

    def tell(text: str, share: float | None) -> None:
        if clock.now() > end:
            raise _TimeIsUp

    return tell


def _first_fault(trials: Trials, frame: int, tell: Tell) -> Blamed | None:
    for fault in hunted(trials, tell):
        if fault.at_output:
            return Blamed(fault.node, frame, fault=fault.fault)
    return None


def _most_costly(trials: Trials, frame: int, tell: Tell) -> Blamed | None:
    """The node with the largest error, of those that were tried alone in the time; blocks come first."""
    ranking = Rank(trials, tell, (0,), short=True)
    with suppress(_TimeIsUp):
        ranking.run()
    tried = [row for row in ranking.node_errors() if row.error]
    if not tried:
        return None
    return Blamed(tried[0].node, frame, error=tried[0].error, complete=ranking.complete)
