"""Shared by the causes of late frames in a stage that can be left out: a hook, or decoding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.analyze.stages import stages
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe
from framepace.explaining.metrics import TAIL
from framepace.facts.late import Growth, LateFrames
from framepace.facts.settings import Case, apply

_BLOCK_REQUESTS = 200  # so that what happens to one frame in twenty happens ten times
_BLOCK_S = 1.0  # back to back, where requests are not counted
STAGES = ("decode", "prepare", "finish")
ADVICE = {
    "decode": "ask the source for pictures that decode evenly (fewer, smaller key frames), or decode ahead",
    "prepare": "bound what the preparation hook does per picture, or hand that work to another thread or process",
    "finish": "bound what reading the outputs and the finish hook do per frame, or hand it to another thread",
}
WAITS = 0.5  # of what the stage takes more, without CPU time
_MAIN = 0.5  # of what late frames take more, waiting for earlier frames aside
_FELT = 0.2  # of the typical latency
_OF_A_HOOK = ("prepare", "finish")


def main_growth(late: LateFrames | None) -> Growth | None:
    """The stage that makes most of the difference, waiting for earlier frames aside, if it can be left out."""
    if late is None or not late.working:
        return None
    growth = late.working[0]
    if growth.more < _MAIN * sum(other.more for other in late.working) or growth.stage not in STAGES:
        return None
    return growth


def left_out(stage: str, evidence: Evidence) -> dict[str, Any]:
    """The settings without a stage. Where models run on what others find, outputs have to be read."""
    if stage == "decode":
        return {"scope": "pipeline"}
    if stage == "prepare":
        return {"prepare-constant": True, "prepare-hook": None}
    if any(model.after for model in evidence.models):
        return {"finish": None}
    return {"finish": None, "post": "none"}


def stage_left_out(evidence: Evidence) -> Probe:
    """The trial without the stage that `main_growth` names, judged on the slowest frames."""
    growth = main_growth(evidence.late)
    assert growth is not None  # nothing is suspected without it
    base = _trial_base(growth, evidence)
    return Probe(base, left_out(growth.stage, evidence), TAIL, fewest=_BLOCK_REQUESTS, least_s=_BLOCK_S)


def _trial_base(growth: Growth, evidence: Evidence) -> Case:
    """The case in which the stage is left out: back to back, so that late frames come often, except for decoding.

    Live sources set their own pace.
    """
    base = evidence.kept_up("stream")
    if growth.stage not in _OF_A_HOOK or any(map(_is_live, evidence.case.workload.input.videos)):
        return base
    return apply(base, {"concurrency": evidence.case.plan.engine.workers})


def _is_live(video: str) -> bool:
    return "://" in video and not video.startswith("file://")


def is_felt(growth: Growth, evidence: Evidence) -> bool:
    """Whether late frames are later by a fifth of the typical latency or more."""
    return growth.more >= _FELT * evidence.latency


def worth(growth: Growth, evidence: Evidence) -> float:
    """The share of a late frame's latency that the stage may be worth."""
    return min(1.0, growth.more / max(growth.more + evidence.latency, 1))


def waiting_share(evidence: Evidence, growth: Growth) -> float:
    """The share of a stage's growth in late frames in which the worker waited for something; 0 where it is not known.

    That is the time without CPU time, less what it waited for a core that others had taken from it.
    """
    rows = evidence.traces["stream"].measured()
    cpu = rows.requests["cpu"]
    spent = stages(rows)[growth.stage]
    slow = spent > (growth.late + growth.other) / 2
    if growth.stage not in _OF_A_HOOK or slow.all() or not slow.any() or cpu.min() < 0:
        return 0.0
    more, used = (float(np.mean(column[slow]) - np.mean(column[~slow])) for column in (spent, cpu))
    return min(1.0, max(0.0, 1 - used / max(more, 1.0))) * _gave_way(rows.requests, slow)


def _gave_way(requests: Mapping[str, NDArray[np.int64]], slow: NDArray[np.bool_]) -> float:
    """How often, of the times that the worker left its core in slow frames, it did so to wait (0-1).

    A thread that computes leaves it because another gets it. Without such counts, as in virtual time, it always waits.
    """
    switched, preempted = (int(requests[name][slow].sum()) for name in ("switched", "preempted"))
    return switched / (switched + preempted) if preempted > 0 else 1.0
