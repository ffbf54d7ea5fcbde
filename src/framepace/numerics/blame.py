"""Which node of the user's file a refused precision breaks, found in seconds: for the sentence that refuses it."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass

from framepace.analyze.agreement import worst_frames
from framepace.clock.system import Clock
from framepace.errors import FramepaceError
from framepace.facts.accuracy import Agreement
from framepace.facts.mending import Fault, NetworkNode
from framepace.facts.plan import ModelPlan
from framepace.facts.workload import Input
from framepace.numerics.deadline import TimeIsUp, deadline_in
from framepace.numerics.hunt import hunted
from framepace.numerics.suspects import Suspects
from framepace.numerics.trials import Trials
from framepace.numerics.trying import trials_of
from framepace.progress import Tell


@dataclass(frozen=True)
class Blamed:
    """The node to blame on a frame: the `fault` with which NaN or infinity begins, or its `error` when it alone is low.

    `error` is a relative L2 error, None where an output is not finite. `complete`: it was tried to the end.
    """

    node: NetworkNode
    frame: int
    fault: Fault | None = None
    error: float | None = None
    complete: bool = True


def blamed(model: ModelPlan, input: Input, refused: Agreement, seconds: float, clock: Clock) -> Blamed | None:
    """The node that breaks a precision on the frame that agrees least; None where it is not known within `seconds`.

    `input` and the number of frames are those that `refused` is of. Emulated on the CPU, whatever refused it.
    """
    worst = worst_frames(refused, 1)
    if not worst or model.precision == "fp32":
        return None
    frame = worst[0].frame
    end = deadline_in(seconds, clock)

    def tell(text: str, share: float | None) -> None:
        end.check()

    try:
        trials = trials_of(model, input, model.precision, refused.frames, only=frame, gate=refused.gate, tell=tell)
        return _first_fault(trials, frame, tell) or _most_costly(trials, frame, tell)
    except (FramepaceError, TimeIsUp):
        return None


def _first_fault(trials: Trials, frame: int, tell: Tell) -> Blamed | None:
    for fault in hunted(trials, tell):
        if fault.at_output:
            return Blamed(fault.node, frame, fault=fault.fault)
    return None


def _most_costly(trials: Trials, frame: int, tell: Tell) -> Blamed | None:
    """The node with the largest error, of those that were tried alone in the time."""
    suspects = Suspects(trials, tell)
    complete = False
    with suppress(TimeIsUp):
        suspects.sift(0)
        complete = True
    worst = next((name for name in suspects.by_cost() if suspects.alone.get(name)), None)
    if worst is None:
        return None
    node = next(node for node in trials.network.nodes if node.name == worst)
    error = suspects.alone[worst]
    return Blamed(node, frame, error=error if math.isfinite(error) else None, complete=complete)
