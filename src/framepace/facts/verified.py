"""A plan that was exported, held against the server that runs it: answers, throughput, latency and stages."""

from __future__ import annotations

from framepace.facts.accuracy import Agreement
from framepace.facts.base import Fact
from framepace.facts.bounded import NonNegative
from framepace.facts.served import Served
from framepace.facts.summary import Estimate, Percentile

ROUNDS = 4
"""Rounds of each side, and their seconds, where nobody says otherwise."""
SECONDS = 5.0
WAITING = "waiting"
TRANSPORT = "transport"
STAGES = ("decode", WAITING, "prepare", TRANSPORT, "inference", "finish")
"""What a frame's latency consists of on both sides; here nothing is transported."""


class VerifiedSide(Fact, frozen=True, kw_only=True):
    """One side under the load, over all its rounds: frames per second, and latencies and means of the stages in ns."""

    throughput: NonNegative
    p50: Percentile
    p99: Percentile
    stages: dict[str, float] = {}


class Verification(Fact, frozen=True, kw_only=True):
    """A plan here beside the same plan in a server.

    `answers` by model: how far the server's outputs are those of the plan. `here` and `there` are both sides under the
    load, in `rounds` interleaved rounds each; `ratios` are there/here of 'median', 'p99' and 'throughput' with their
    intervals. `predicted` is what the side there was expected to be, before it was measured. `served` are the server's
    own statistics. None where it ended before; `stopped` says why: Ctrl-C, or requests that were refused.
    """

    server: str
    answers: dict[str, Agreement] = {}
    rounds: int = 0
    here: VerifiedSide | None = None
    there: VerifiedSide | None = None
    predicted: VerifiedSide | None = None
    ratios: dict[str, Estimate] = {}
    served: tuple[Served, ...] = ()
    stopped: str = ""
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the outputs of every model are those of the plan, within the gate, on all frames."""
        checks = self.answers.values()
        return bool(checks) and all(check.passed and check.complete and not check.says_nothing for check in checks)

    @property
    def largest(self) -> str:
        """The stage in which both differ most; '' where nothing was measured."""
        if self.here is None or self.there is None:
            return ""
        before, after = self.here.stages, self.there.stages
        return max(STAGES, key=lambda name: abs(after[name] - before[name]))
