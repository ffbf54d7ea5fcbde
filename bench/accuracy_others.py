"""Other tools on the networks of `bench/accuracy.py`: what they blame, what they keep in FP32, and how long they take.

    pip install --no-deps --target FOLDER onnxconverter-common polygraphy onnx-graphsurgeon
    PYTHONPATH=FOLDER python bench/accuracy_others.py [--seed 0] [--rounds 1] [--json]

FP16: `auto_convert_mixed_precision` of onnxconverter-common, with framepace's gate as its validation, on one frame, as
it takes one; `polygraphy debug reduce` with framepace's emulation as its check (`accuracy_check.py`), on four frames.
INT8: `qdq_loss_debug` of ONNX Runtime on a file that ONNX Runtime quantised, the tensor with the lowest ratio of signal
to noise first.
"Holds" is the same for all: the gate, with the nodes that a tool keeps in FP32 and all others in FP16, emulated, on all
frames. What is not installed is left out.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import outcome
from accuracy_cases import FRAMES, Case, cases, pictures, write
from accuracy_int8 import int8_cases

import framepace
from framepace.facts.accuracy import default_gate
from framepace.facts.mending import NetworkNode
from framepace.facts.plan import ModelPlan
from framepace.numerics.inputs import tried_inputs
from framepace.numerics.rounding import FP16
from framepace.numerics.switched import Network
from framepace.numerics.tallying import agreement_of
from framepace.numerics.trials import Trials
from framepace.video.stills import png

_CHECK = Path(__file__).with_name("accuracy_check.py")
_CHECKED_FRAMES = 4
_SECONDS = 300.0
_REDUCE = "import sys; from polygraphy.tools import main; sys.exit(main())"


@dataclass(frozen=True)
class Judge:
    """A case with its frames, and whether a set of nodes in FP32 mends it."""

    case: Case
    model: str
    videos: tuple[str, ...]
    trials: Trials

    def holds(self, kept: frozenset[str]) -> bool:
        """Whether the gate holds on all frames with those nodes in FP32."""
        low = [node.name for node in self.trials.network.nodes if not _is_kept(node, kept)]
        return self.trials.agreement(low, range(len(self.trials.inputs))).passed


def _is_kept(node: NetworkNode, kept: frozenset[str]) -> bool:
    return node.name in kept or bool(kept.intersection(node.made_from))


@dataclass(frozen=True)
class Answer:
    """What a tool says of a network: the nodes that it blames or keeps, or why there is no answer."""

    tool: str
    found: bool = False
    holds: bool = False
    kept: int = 0
    extra: int = 0
    seconds: float = 0.0
    problem: str = ""


Tool = Callable[[Judge], frozenset[str]]


def asked(tool: str, run: Tool, judge: Judge) -> Answer:
    """A tool's answer to one case, timed."""
    began = time.monotonic()
    try:
        kept = run(judge)
    except Exception as error:  # of somebody else's tool: told, and the others go on
        return Answer(tool, seconds=time.monotonic() - began, problem=" ".join(str(error).split())[:150])
    seconds = time.monotonic() - began
    return Answer(
        tool, bool(kept & judge.case.blamed), judge.holds(kept), len(kept), len(kept - judge.case.needed), seconds
    )


def converter(judge: Judge) -> frozenset[str]:
    """The nodes that onnxconverter-common's automatic mixed precision leaves in FP32."""
    import onnx

    convert = import_module("onnxconverter_common.auto_mixed_precision").auto_convert_mixed_precision
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        convert(onnx.load(judge.model), judge.trials.inputs[0], _passes, keep_io_types=True)
    names = [line for line in said.getvalue().splitlines() if line.startswith("Done: ")]
    return frozenset(ast.literal_eval(names[-1].removeprefix("Done: ")))


def _passes(expected: Sequence[Any], actual: Sequence[Any]) -> bool:
    """framepace's gate, for the converter's outputs."""
    pair = tuple({str(number): values for number, values in enumerate(way)} for way in (expected, actual))
    return agreement_of([(pair[0], pair[1])], 1, default_gate("fp16")).passed


def polygraphy(judge: Judge) -> frozenset[str]:
    """The nodes of the smallest part that fails, as `polygraphy debug reduce` finds it."""
    import onnx

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frames = np.stack([inputs["picture"] for inputs in judge.trials.inputs[:: FRAMES // _CHECKED_FRAMES]])
        np.save(folder / "frames.npy", frames)
        reduced = folder / "reduced.onnx"
        check = [sys.executable, str(_CHECK), judge.model, str(folder / "frames.npy")]
        command = [sys.executable, "-c", _REDUCE, "debug", "reduce", judge.model, "-o", str(reduced), "--check", *check]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
        if not reduced.is_file():
            raise RuntimeError(done.stderr[-300:] or done.stdout[-300:] or "no reduced model")
        return frozenset(node.name for node in onnx.load(reduced).graph.node)


def framepaces(judge: Judge) -> Answer:
    """framepace's own answer: what comes first, what is kept, and the time of all three questions."""
    result = outcome(judge.case, Path(judge.model).parent, judge.videos)
    holds = judge.holds(result.kept)
    return Answer(
        "framepace", result.found, holds, len(result.kept), len(result.kept - judge.case.needed), result.seconds
    )


_TOOLS: dict[str, tuple[str, Tool]] = {
    "auto_mixed_precision": ("onnxconverter_common", converter),
    "polygraphy debug reduce": ("polygraphy", polygraphy),
}


def fp16_answers(seed: int, rounds: int, folder: Path) -> Iterator[Answer]:
    """What each tool says of each network with a planted fault."""
    videos = (str(_pictures(folder / "pictures", seed)),)
    for case in cases(seed, rounds):
        if case.planted:
            yield from _all_tools(case, folder, videos)


def _all_tools(case: Case, folder: Path, videos: tuple[str, ...]) -> Iterator[Answer]:
    model = write(folder, case)
    plan = ModelPlan(name=case.name, model=model)
    inputs = tried_inputs(plan, framepace.make_case(model, videos=list(videos)).workload.input, FRAMES, 0)
    judge = Judge(case, model, videos, Trials(Network(plan, FP16), inputs, default_gate("fp16")))
    answers = [framepaces(judge)]
    answers += [asked(tool, run, judge) for tool, (package, run) in _TOOLS.items() if _is_installed(package)]
    for answer in answers:
        print(f"{case.name} {case.kind:32} {answer}", file=sys.stderr)
    yield from answers


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def int8_answers(seed: int, count: int, folder: Path) -> Iterator[Answer]:
    """Which node qdq_loss_debug and framepace put first in networks with one bad range."""
    calibration = _pictures(folder / "calibration", seed + 1)
    for case in int8_cases(seed, count):
        if case.planted:
            model = write(folder, case)
            asked_of = framepace.make_case(model, videos=[str(calibration)], settings={"calibration": str(calibration)})
            yield _timed("framepace --rank", case, partial(_ranked, asked_of))
            inputs = list(tried_inputs(asked_of.plan.models[0], asked_of.workload.input, FRAMES, 0))
            for error in ("qdq_err", "xmodel_err"):
                yield _timed(f"qdq_loss_debug {error}", case, partial(_lossy, model, inputs, error))


def _ranked(plan: Any) -> str:
    return framepace.rank(plan, precision="int8", frames=FRAMES).nodes[0].node.name


def _timed(tool: str, case: Case, first: Callable[[], str]) -> Answer:
    began = time.monotonic()
    name = first()
    answer = Answer(tool, name in case.blamed, seconds=time.monotonic() - began)
    print(f"{case.name} {case.kind:32} {name} {answer}", file=sys.stderr)
    return answer


def _lossy(model: str, inputs: Sequence[Any], error: str) -> str:
    """The node that makes the activation with the lowest ratio of signal to quantisation noise.

    `error` is 'qdq_err' (what quantising this tensor loses) or 'xmodel_err' (against the model in FP32).
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, qdq_loss_debug, quantize_static

    class Frames(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(inputs)

        def get_next(self) -> Any:
            return next(self._left, None)

    quantised, watched, plain = (f"{model}.{name}.onnx" for name in ("qdq", "watched", "plain"))
    quantize_static(model, quantised, Frames(), quant_format=QuantFormat.QDQ, per_channel=True)
    qdq_loss_debug.modify_model_output_intermediate_tensors(quantised, watched)
    qdq_loss_debug.modify_model_output_intermediate_tensors(model, plain)
    activations = [qdq_loss_debug.collect_activations(path, Frames()) for path in (watched, plain)]
    errors = qdq_loss_debug.compute_activation_error(qdq_loss_debug.create_activation_matching(*activations))
    worst = min(errors, key=lambda tensor: errors[tensor][error])
    makers = {output: node.name for node in onnx.load(model).graph.node for output in node.output}
    return str(makers.get(worst, worst))


def _pictures(folder: Path, seed: int) -> Path:
    folder.mkdir()
    for file, picture in pictures(seed):
        (folder / file).write_bytes(png(picture))
    return folder


def rows(answers: Sequence[Answer]) -> Iterator[dict[str, Any]]:
    """A row per tool: shares of its cases, mean number of nodes, median seconds."""
    for tool in dict.fromkeys(answer.tool for answer in answers):
        mine = [answer for answer in answers if answer.tool == tool]
        answered = [answer for answer in mine if not answer.problem] or [Answer(tool)]
        yield {
            "tool": tool,
            "cases": len(mine),
            "failed": sum(bool(answer.problem) for answer in mine),
            "found": sum(answer.found for answer in mine),
            "holds": sum(answer.holds for answer in mine),
            "kept": float(np.mean([answer.kept for answer in answered])),
            "extra": float(np.mean([answer.extra for answer in answered])),
            "seconds": float(np.median([answer.seconds for answer in mine])),
        }


def main() -> None:
    """Run all tools that are installed, and print a row per tool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=1, help="12 faulty networks each")
    parser.add_argument("--int8", type=int, default=12, help="networks in INT8, half of them with a bad range")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["FRAMEPACE_CACHE"] = str(folder / "cache")
        answers = [*fp16_answers(options.seed, options.rounds, folder)]
        answers += int8_answers(options.seed, options.int8, folder)
    left_out = [tool for tool, (package, _) in _TOOLS.items() if not _is_installed(package)]
    if options.json:
        print(json.dumps({"rows": list(rows(answers)), "not installed": left_out}))
        return
    for row in rows(answers):
        print("  ".join(f"{name} {value:.3g}" if name != "tool" else f"{value:24}" for name, value in row.items()))
    for tool in left_out:
        print(f"{tool}: not installed")


if __name__ == "__main__":
    main()
