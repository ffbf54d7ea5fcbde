"""The check that `accuracy_others.py` gives to Polygraphy: exit code 1 where a part of a network fails in FP16.

    python bench/accuracy_check.py ORIGINAL.onnx FRAMES.npy [PART.onnx]

What the part reads is what the original computes in FP32 on the same frames. FP16 is emulated as framepace does it,
so that both tools ask the same question.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from framepace.facts.accuracy import default_gate
from framepace.facts.plan import ModelPlan
from framepace.numerics.rounding import FP16
from framepace.numerics.switched import Network
from framepace.numerics.trials import Trials

_PART = "polygraphy_debug.onnx"


def fed(original: str, part: Any, frames: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """The inputs of a part of a network, frame by frame."""
    import onnx
    import onnxruntime

    model = onnx.load(original)
    picture = model.graph.input[0].name
    inner = [value.name for value in part.graph.input if value.name != picture]
    del model.graph.output[:]
    for name in inner:
        model.graph.output.add().name = name
    for frame in frames:
        values = {picture: frame}
        if inner:
            session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
            values.update(zip(inner, session.run(inner, {picture: frame}), strict=True))
        yield {value.name: values[value.name] for value in part.graph.input}


def main() -> int:
    """1 where the gate of FP16 breaks on any frame, as Polygraphy takes it."""
    import onnx

    original, frames, *part = sys.argv[1:]
    path = part[0] if part else _PART
    inputs = list(fed(original, onnx.load(path), np.load(frames)))
    trials = Trials(Network(ModelPlan(name="part", model=path), FP16), inputs, default_gate("fp16"))
    return int(trials.fails(trials.network.names, range(len(inputs))))


if __name__ == "__main__":
    sys.exit(main())
