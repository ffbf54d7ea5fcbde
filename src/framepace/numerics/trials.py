"""A network tried with some of its nodes in lower precision: its outputs against those in FP32, frame by frame."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from framepace.errors import ModelError
from framepace.facts.accuracy import Agreement, Gate, OutputAgreement
from framepace.numerics.inputs import Inputs
from framepace.numerics.switched import Network, Outputs
from framepace.numerics.tallying import LEAST, agreement_of

NOT_FINITE = math.inf


@dataclass
class Trials:
    """Frames on which a network is tried, and the gate; outputs in FP32 are computed once per frame.

    A `metric` that must reach `least` on average decides in place of the gate (see `metric_of`).

    Raises ModelError where an output in FP32 is NaN: nothing can be held against it.
    """

    network: Network
    inputs: Sequence[Inputs]
    gate: Gate
    metric: str | None = None
    least: float = LEAST
    _references: dict[int, Outputs] = field(default_factory=dict)

    def agreement(self, low: Collection[str], frames: Sequence[int]) -> Agreement:
        """How far the outputs agree with those nodes in lower precision, on those frames."""
        pairs = ((self.reference(frame), self.network.run(self.inputs[frame], low)) for frame in frames)
        return agreement_of(pairs, len(frames), self.gate, metric=self.metric, least=self.least)

    def error(self, low: Collection[str], frames: Sequence[int]) -> float:
        """The relative L2 error of the output that suffers most; infinity where one is not finite."""
        return worst_error(self.agreement(low, frames))

    def fails(self, low: Collection[str], frames: Sequence[int]) -> bool:
        """Whether the gate breaks; a frame whose output is not finite ends the trial."""
        first = frames[:1]
        if len(frames) > 1 and math.isinf(self.error(low, first)):
            return True
        agreement = self.agreement(low, frames)
        return not (agreement.passed or agreement.says_nothing)

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
