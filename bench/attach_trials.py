"""Trials in blocks of a program of known truth: how many frames a verdict takes, and how many it would have to take.

    python bench/attach_trials.py                     # the program of bench/attach_gpu.py, by how long it may run
    python bench/attach_trials.py --effect 0.85 --spread 0.5

The program is virtual, and so is time: a call of 0.8 ms, 20 ms of sleep. One of three settings takes a share of the
latency, two do nothing. Latencies are lognormal, about a level that wanders (an AR(1) process). Every limit is run with
as many seeds: how often what helps is proven, how often anything else is, and the frames of blocks until then. 'Least'
are the frames that the same certainty takes where the spread of the frames is known beforehand and the level stands.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from common import show
from numpy.typing import NDArray

from framepace.analyze.stats import normal_quantile
from framepace.attaching.program import Observation
from framepace.attaching.turns import Turns
from framepace.facts.program import Program
from framepace.programtrials.arm import arms_of
from framepace.programtrials.trials import try_settings
from framepace.testing import make_trace
from framepace.units import NS_PER_S

_TRIES = ({"heartbeat": "on"}, {"awake": "on"}, {"sleep": "spin"})
_HELPS = "heartbeat"
_CALL_S, _PERIOD_S = 0.0008, 0.0208
_POWER = 0.8
_OF_A_MEDIAN = 1.2533  # times the error of a mean, for normal logarithms


class VirtualProgram:
    """A program whose frames are drawn; a run of it takes no time but that of `clock`."""

    def __init__(self, args: argparse.Namespace, seed: int) -> None:
        self._args = args
        self._rng = np.random.default_rng(seed)
        self.clock = 0.0
        self.block_frames = 0

    def now(self) -> float:
        """Seconds so far."""
        return self.clock

    def __call__(
        self, settings: Mapping[str, str], *, turns: Turns | None = None, seconds: float | None = None, **_: Any
    ) -> Observation:
        """A run of so many seconds."""
        assert seconds is not None
        count = int(seconds / _PERIOD_S)
        begin = turns.begin_ns if turns else 0
        due = begin + (np.arange(count) * _PERIOD_S * NS_PER_S).astype(np.int64)
        latencies = _CALL_S * NS_PER_S * self._scatter(count)
        if turns is not None:
            latencies *= self._effects(turns, due - begin)
            self.block_frames += count
        self.clock += seconds
        program = Program(command=("app.py",), names=("model",), period=_PERIOD_S * NS_PER_S)
        return Observation(make_trace(latencies, program=program, due=due), 0, {}, by_time=True)

    def _scatter(self, count: int) -> NDArray[np.float64]:
        """Factors of a level that wanders, and of frames about it."""
        kept = math.exp(-_PERIOD_S / self._args.wander_s)
        steps = self._rng.normal(0.0, self._args.wander * math.sqrt(1 - kept**2), count)
        level = np.array(list(itertools.accumulate(steps, lambda before, step: kept * before + step)))
        return np.exp(level + self._rng.normal(0.0, self._args.spread, count))

    def _effects(self, turns: Turns, since: NDArray[np.int64]) -> NDArray[np.float64]:
        """The share of each frame that its block's setting leaves."""
        shares = np.array([self._args.effect if _HELPS in arm else 1.0 for arm in turns.arms])
        order = np.array(turns.order)
        return np.asarray(shares[order[since // turns.block_ns % len(order)]])


def main() -> None:
    """A row per time limit."""
    args = _options()
    rows = [{"what": "least frames of blocks", "got": str(_least(args)), "seconds": _least(args) * _PERIOD_S}]
    show("trials in blocks", args, [*rows, *(_row(args, limit) for limit in args.limits)])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--effect", type=float, default=0.7, help="latency with what helps, over that without")
    parser.add_argument("--spread", type=float, default=0.25, help="of the logarithm of a frame's latency")
    parser.add_argument("--wander", type=float, default=0.1, help="the same of the level")
    parser.add_argument("--wander-s", type=float, default=2.0, help="seconds in which the level wanders")
    parser.add_argument("--limits", type=float, nargs="+", default=[20.0, 35.0, 60.0], help="time limits, s")
    parser.add_argument("--runs", type=int, default=20, help="of each limit")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    return parser.parse_args()


def _least(args: argparse.Namespace) -> int:
    """Frames of all blocks with which the settled part of them proves the effect in `_POWER` of the runs."""
    confidence = arms_of(_TRIES)[0].confidence
    wanted = normal_quantile(confidence) + normal_quantile(2 * _POWER - 1)
    pairs: float = 2 * (wanted * _OF_A_MEDIAN * args.spread / math.log(args.effect)) ** 2
    return math.ceil((1 + len(_TRIES)) * pairs)


def _row(args: argparse.Namespace, limit: float) -> dict[str, Any]:
    proven = wrong = frames = 0
    told = []
    for seed in range(args.seed, args.seed + args.runs):
        program = VirtualProgram(args, seed)
        found = try_settings(program, _TRIES, limit, now=program.now)
        names = {name for trial in found.trials if trial.verdict == "confirmed" for name in trial.settings}
        proven += _HELPS in names
        wrong += bool(names - {_HELPS})
        frames += program.block_frames
        told += [note for note in found.notes if "--time-limit" in note and _HELPS in note]
    got = f"proven {proven}, anything else {wrong}, told how long it takes {len(told)} of {args.runs} runs"
    return {"what": f"limit {limit:g} s", "got": f"{got}; {frames // args.runs} frames of blocks a run"}


if __name__ == "__main__":
    main()
