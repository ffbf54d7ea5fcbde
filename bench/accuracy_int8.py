"""One bad range in INT8, planted in random networks: is it found, and what stays in FP32 for it?

    python bench/accuracy_int8.py [--seed 0] [--cases 12] [--json]

In every other network one channel of a tensor is some hundred times as large as the others, and the convolution that
reads it has weights as much smaller: in FP32 nothing changes, in INT8 the range of that channel leaves the others no
steps. Calibrated on the frames that `bench/accuracy.py` makes, judged on others.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from accuracy_cases import FRAMES, Case, Net, Planted, pictures, write

import framepace
from framepace.video.stills import png

_CHANNELS = 12
_LEAST_FOUND = 0.95
_GATE = framepace.Gate(cosine=0.99, relative_l2=0.1, top1=None)  # of random classes, two may be as good as equal


def int8_cases(seed: int, count: int) -> Iterator[Case]:
    """Networks with one bad range, and healthy ones, in turn."""
    for number in range(count):
        yield _case(seed, number, planted=number % 2 == 0)


def _case(seed: int, number: int, planted: bool) -> Case:
    net = Net(np.random.default_rng([seed, number]))
    _convolutions(net, int(net.rng.integers(1, 4)))
    faults = [_bad_range(net)] if planted else []
    _convolutions(net, int(net.rng.integers(1, 4)))
    return Case(f"int8-{number:02d}", "one bad INT8 range" if planted else "healthy", net.finish(), tuple(faults))


def _convolutions(net: Net, count: int) -> None:
    for _ in range(count):
        net.conv(_CHANNELS)
        net.step("Relu")


def _bad_range(net: Net) -> Planted:
    """A channel that is scaled up, and the convolution that scales it down again.

    ONNX Runtime puts the scale into the convolution before: the tensor between the two has the range, and whoever
    writes or reads it in INT8 loses the other channels.
    """
    from onnx import numpy_helper

    scale = np.ones((1, _CHANNELS, 1, 1))
    scale[0, net.rng.integers(_CHANNELS)] = net.rng.uniform(500, 2000)
    writer = net.conv(_CHANNELS)  # without a Relu behind it, which might leave the channel empty
    net.step("Mul", scale)
    reader = net.conv(_CHANNELS)
    weight = next(tensor for tensor in net.weights if tensor.name == net.nodes[-1].input[1])
    scaled_down = (numpy_helper.to_array(weight) / scale).astype(np.float32)
    weight.CopyFrom(numpy_helper.from_array(scaled_down, weight.name))
    net.tap()
    net.step("Relu")
    both = frozenset([writer, reader])
    return Planted(both, both)


def _answer(case: Case, model: str, calibration: Path, videos: list[str]) -> tuple[bool, int]:
    """Whether the case is answered as it was planted, and how many nodes more than needed stay in FP32."""
    asked = framepace.make_case(model, videos=videos, settings={"calibration": str(calibration)})
    mended = framepace.mend(asked, precision="int8", frames=FRAMES, gate=_GATE, price=False)
    kept = {node.name for node in mended.kept}
    first = framepace.rank(asked, precision="int8", frames=FRAMES, gate=_GATE).nodes[0].node.name
    answered = mended.holds and not kept
    if case.planted:
        answered = mended.holds and first in case.blamed
    error = mended.before.outputs[0].relative_l2 or 0.0
    words = f"error {error:.3g}, first {first}, needed {sorted(case.needed)}, kept {sorted(kept)}"
    print(f"{case.name} {case.kind:20} {'ok' if answered else 'WRONG':6} {words}", file=sys.stderr)
    return answered, len(kept - case.needed)


def run(seed: int, count: int) -> dict[str, float]:
    """The figures over all cases."""
    answers: dict[bool, list[bool]] = {True: [], False: []}
    extra = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["FRAMEPACE_CACHE"] = str(folder / "cache")
        calibration, judged = _folder(folder / "calibration", seed + 1), _folder(folder / "judged", seed)
        for case in int8_cases(seed, count):
            answered, more = _answer(case, write(folder, case), calibration, [str(judged)])
            answers[bool(case.planted)].append(answered)
            extra.append(more)
    shares = {planted: sum(rows) / max(1, len(rows)) for planted, rows in answers.items()}
    return {"cases": count, "found": shares[True], "healthy_passed": shares[False], "extra_layers": sum(extra) / count}


def _folder(path: Path, seed: int) -> Path:
    """A folder of pictures."""
    path.mkdir()
    for file, picture in pictures(seed):
        (path / file).write_bytes(png(picture))
    return path


def main() -> int:
    """Run the cases and print the figures; exit code 1 when too few are right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = run(arguments.seed, arguments.cases)
    if arguments.json:
        print(json.dumps(figures))
    else:
        print("\n".join(f"{name:15} {value:.3g}" for name, value in figures.items()))
    return int(figures["found"] < _LEAST_FOUND or figures["healthy_passed"] < 1)


if __name__ == "__main__":
    sys.exit(main())
