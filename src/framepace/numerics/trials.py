"""A network tried with some of its nodes in lower precision: its outputs against those in FP32, frame by frame."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from framepace.analyze.agreement import Tally, frame_numbers
from framepace.errors import ModelError
from framepace.facts.accuracy import Agreement, Gate, OutputAgreement
from framepace.numerics.deadline import Deadline
from framepace.numerics.inputs import Inputs
from framepace.numerics.metrics import is_own, optional_metric
from framepace.numerics.switched import Network, Outputs
from framepace.numerics.tallying import LEAST, Numbers, agreement_of, verdict
from framepace.numerics.tried import OnFrame, Tried, trial_name

NOT_FINITE = math.inf


@dataclass
class Trials:
    """Frames on which a network is tried, and the gate; each frame is run once with the same nodes low.

    A `metric` that must reach `least` on average decides in place of the gate (see `metric_of`). `tried` has what is
    known already, and `runs` counts what was not. A run after the `limit`, where there is one, raises
    TimeIsUp. `broken` is the frame that ended the last trial that failed.

    Raises ModelError where an output in FP32 is NaN: nothing can be held against it.
    """

    network: Network
    inputs: Sequence[Inputs]
    gate: Gate
    metric: str | None = None
    least: float = LEAST
    tried: Tried = field(default_factory=Tried)
    limit: Deadline | None = None
    runs: int = 0
    broken: int | None = None
    _references: dict[int, Outputs] = field(default_factory=dict)
    _broke: Counter[int] = field(default_factory=Counter)  # how often a frame ended a trial

    def agreement(self, low: Collection[str], frames: Sequence[int]) -> Agreement:
        """How far the outputs agree with those nodes in lower precision, on those frames."""
        if self.metric is None:
            return self._judged([self._numbers(low, frame) for frame in frames])
        pairs = ((self.reference(frame), self.network.run(self.inputs[frame], low)) for frame in frames)
        return agreement_of(pairs, len(frames), self.gate, metric=self.metric, least=self.least)

    def error(self, low: Collection[str], frames: Sequence[int]) -> float:
        """The relative L2 error of the output that suffers most; infinity where one is not finite."""
        done: list[OnFrame] = []
        for frame in frames:
            done.append(self._numbers(low, frame))
            if any(output.nonfinite or output.mismatch for output in done[-1].outputs.values()):
                return NOT_FINITE
        return worst_error(self._judged(done))

    def fails(self, low: Collection[str], frames: Sequence[int]) -> bool:
        """Whether the gate breaks. A trial ends where it does even if nothing were off on the frames that are left.

        The frames that ended most trials come first.
        """
        order = sorted(frames, key=lambda frame: -self._broke[frame])
        for done in range(1 if self._ends_early else len(order), len(order) + 1):
            numbers = [self._numbers(low, frame) for frame in order[:done]]
            rest = [self._numbers((), frame) for frame in order[done:]]
            agreement = self._judged([*numbers, *rest])
            if not (agreement.passed or agreement.says_nothing):
                self.broken = order[done - 1]
                self._broke[self.broken] += 1
                return True
        return False

    @property
    def _ends_early(self) -> bool:
        """Whether it is known what the numbers of equal outputs are: a metric of the user's may have any scale."""
        return not is_own(self.metric)

    def _judged(self, numbers: Sequence[OnFrame]) -> Agreement:
        tallies = {name: Tally(name) for frame in numbers for name in frame.outputs}
        for name, tally in tallies.items():
            for frame in numbers:
                tally.take(frame.outputs[name])
        results = tuple(tally.result() for tally in tallies.values())
        scores = tuple(frame.score for frame in numbers)
        return verdict(Numbers(len(numbers), results, scores), self.gate, self.metric, self.least)

    def _numbers(self, low: Collection[str], frame: int) -> OnFrame:
        """The numbers of one frame, of which equal ones need no run."""
        name = trial_name(low, frame, self.network.rounding.precision, self.metric)
        numbers = self.tried.get(name)
        if numbers is None:
            numbers = self._run(low, frame)
            self.tried.add(name, numbers)
        return numbers

    def _run(self, low: Collection[str], frame: int) -> OnFrame:
        expected = self.reference(frame)
        actual = expected
        if low:
            self._count()
            actual = self.network.run(self.inputs[frame], low)
        outputs = {name: frame_numbers(values, actual[name]) for name, values in expected.items()}
        return OnFrame(outputs, optional_metric(self.metric).score(expected, actual))

    def _count(self) -> None:
        """Note that the network is run, if there is time."""
        if self.limit is not None:
            self.limit.check()
        self.runs += 1

    def reference(self, frame: int) -> Outputs:
        """The outputs of a frame in FP32."""
        if frame not in self._references:
            self._references[frame] = in_fp32(self.network, self.inputs[frame], frame)
        return self._references[frame]


def in_fp32(network: Network, inputs: Inputs, frame: int) -> Outputs:
    """The outputs of a frame in FP32. Raises ModelError where one is NaN: nothing can be held against it."""
    outputs = network.run(inputs)
    for name, values in outputs.items():
        if values.dtype.kind == "f" and bool(np.isnan(values).any()):
            raise _not_a_number(name, frame)
    return outputs


def _not_a_number(output: str, frame: int) -> ModelError:
    problem = f"output {output!r} is NaN in FP32 already"
    fix = "check what the model is fed (--set scale, mean, std), or export it again"
    return ModelError(problem, got=f"NaN on frame {frame}", expected="numbers in FP32", fix=fix)


def worst_error(agreement: Agreement) -> float:
    """The error of the output that suffers most: relative L2, or the share of values that are not the same."""
    return max((_error(output, agreement.gate) for output in agreement.outputs), default=0.0)


def _error(output: OutputAgreement, gate: Gate) -> float:
    if output.nonfinite or output.mismatch is not None:
        return NOT_FINITE
    if output.equal is not None:
        return 1 - output.equal
    if output.relative_l2 is None or (output.max_abs is not None and output.max_abs <= gate.negligible):
        return 0.0
    return output.relative_l2
