"""Scripts as people write them for a GPU, with gaps of 20 ms: does attach find what `explain` finds for the model?

    python bench/attach_gpu.py --backends onnxruntime torch      # four minutes
    python bench/attach_gpu.py --backends tensorrt               # two, with the Python that has TensorRT
    python bench/attach_gpu.py --device cpu --slower 3           # without a GPU: that the rows come

For each library a plain script of `tests/programs/gpu` (copy in, infer, copy out, `time.sleep(0.02)`) is explained from
outside, by settings that take turns within one run of it; then the same model with the same gap by `explain`. Rows are
printed as they come (`--out FILE` keeps them as JSON lines). A cause that one of the two proves and the other only
suspects is told as such: 'same' is the same first cause among those that are proven.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from attach_files import network
from common import show
from gpu_tables import TENSORRT_OPTIONS, usable

from framepace import api
from framepace.attaching.program import observe
from framepace.backends.base import get_backend
from framepace.errors import FramepaceError
from framepace.facts.finding import Finding
from framepace.facts.plan import Target
from framepace.facts.programtrial import ProgramTrial
from framepace.facts.workload import Delay
from framepace.units import format_ms

Row = dict[str, Any]
_PROGRAMS = Path(__file__).resolve().parent.parent / "tests" / "programs" / "gpu"
_HEIGHT, _WIDTH, _LAYERS = 192, 320, 16
_GAP_MS = 20.0
_TRIES = ({"awake": "on"}, {"sleep": "spin"})
_HEARTBEAT = {"heartbeat": "on"}  # of ONNX Runtime's sessions only
_OBSERVED_S = 10.0
_ATTACH_S = 90.0  # where pairs of blocks scatter by 0.18, as on a virtual machine: an eighth of the latency is proven
_AWAKE = ("FP002", "FP003", "FP001")  # causes by which a frame after a gap takes longer


def main() -> None:
    """Run each library's script both ways, and print what they found."""
    args = _options()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for backend in usable(args.backends):
            for row in _rows(backend, args, Path(name)):
                rows.append(row)
                _keep(row, args)
    if rows:
        show("attach on a GPU", args, rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", default=["onnxruntime", "torch", "tensorrt"])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--slower", type=float, default=1.0, help="times as much time for each step")
    parser.add_argument("--explain-seconds", type=float, default=40.0, help="for explaining each model")
    parser.add_argument("--out", type=Path, help="file for the rows, as JSON lines")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--seed", type=int, default=0, help="kept with the result; nothing here is random")
    return parser.parse_args()


def _keep(row: Row, args: argparse.Namespace) -> None:
    print(json.dumps(row), file=sys.stderr, flush=True)
    if args.out is not None:
        with args.out.open("a") as file:
            file.write(json.dumps(row) + "\n")


def _rows(backend: str, args: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """What attach sees and proves in the script, what `explain` proves of the model, and whether that is the same."""
    try:
        model = _model(backend, folder)
        command = [sys.executable, str(_PROGRAMS / f"{backend}_loop.py"), str(model), args.device]
        yield _stages(backend, command, args.slower * _OBSERVED_S)
        outside = yield from _by_attach(backend, command, args)
        inside = yield from _by_explain(backend, str(model), args)
    except (FramepaceError, subprocess.CalledProcessError) as error:
        yield {"what": f"{backend}: failed", "got": " / ".join(str(error).splitlines()), "met": False}
        return
    yield _agreement(backend, outside, inside)


def _model(backend: str, folder: Path) -> Path:
    """A network of convolutions as each library's users have it."""
    path = folder / ("model.pt2" if backend == "torch" else "model.onnx")
    if backend == "torch":
        _export(path)
    else:
        onnx.save(network(_HEIGHT, _WIDTH, _LAYERS), str(path))
    if backend == "tensorrt":  # whose engine takes seconds to build
        subprocess.run([sys.executable, str(_PROGRAMS / "tensorrt_loop.py"), str(path), "build"], check=True)
    return path


def _export(path: Path) -> None:
    """Convolutions at a quarter of the size, as those of the ONNX file."""
    import torch

    torch.manual_seed(0)
    layers: list[Any] = []
    for number in range(_LAYERS):
        channels, stride = (32, 1) if number else (3, 4)
        layers += [torch.nn.Conv2d(channels, 32, 3, stride=stride, padding=1), torch.nn.ReLU()]
    example = torch.zeros(1, 3, _HEIGHT, _WIDTH)
    torch.export.save(torch.export.export(torch.nn.Sequential(*layers).eval(), (example,)), path)


def _stages(backend: str, command: Sequence[str], seconds: float) -> Row:
    """A run as it is: the call, and how long the device went on after it."""
    began = time.monotonic()
    observation = observe(command, None, Target(), seconds=seconds, quiet=True)
    rows = observation.trace.measured().requests
    called, done = (sorted(rows[stamp] - rows["started"]) for stamp in ("enqueued", "finished"))
    middle = len(done) // 2
    got = f"call {format_ms(called[middle])}, until the device was done {format_ms(done[middle])}, {len(done)} frames"
    notes = [note for note in observation.trace.meta.notes if "device" in note]
    return {"what": f"{backend}: stages", "got": "; ".join([got, *notes]), "seconds": time.monotonic() - began}


def _by_attach(backend: str, command: Sequence[str], args: argparse.Namespace) -> Generator[Row, None, list[str]]:
    """A row for each setting; gives the causes that are proven, the first first."""
    tries = [*_TRIES, _HEARTBEAT] if backend == "onnxruntime" else list(_TRIES)
    answer = api.explain_program(command, tries=tries, time_limit=args.slower * _ATTACH_S)
    for trial in answer.trials:
        yield _trial_row(backend, trial)
    for note in answer.notes:
        yield {"what": f"{backend}: attach says", "got": note}
    return [trial.code for trial in answer.trials if trial.verdict == "confirmed"]


def _trial_row(backend: str, trial: ProgramTrial) -> Row:
    setting = " ".join(f"{name}={value}" for name, value in trial.settings.items())
    texts = [trial.error or trial.verdict, trial.code]
    for one in trial.interventions[:2]:
        texts.append(f"{one.metric} {one.ratio.value:.3f} [{one.ratio.interval[0]:.3f}, {one.ratio.interval[1]:.3f}]")
    return {"what": f"{backend}: attach {setting}", "got": ", ".join(texts)}


def _by_explain(backend: str, model: str, args: argparse.Namespace) -> Generator[Row, None, list[str]]:
    """A row for each finding but the refuted; gives the causes that are proven, the first first."""
    answer = api.explain(
        model, load=Delay(delay_ms=_GAP_MS), scope="model", settings=_settings(backend, args.device),
        fps=None, time_limit=args.slower * args.explain_seconds,
    )  # fmt: skip
    for finding in answer.findings:
        if finding.verdict != "refuted":
            yield {"what": f"{backend}: explain {finding.code}", "got": _finding(finding)}
    return [finding.code for finding in answer.confirmed]


def _settings(backend: str, device: str) -> Mapping[str, Any]:
    settings: dict[str, Any] = {"backend": backend, "device": device}
    if backend == "tensorrt" and get_backend(backend).versions()["tensorrt"] < "9":
        settings |= {f"option.{name}": value for name, value in TENSORRT_OPTIONS.items()}
    return settings


def _finding(finding: Finding) -> str:
    texts = [finding.verdict, finding.title]
    if finding.intervention is not None:
        ratio = finding.intervention.ratio
        settings = " ".join(f"{name}={value}" for name, value in finding.intervention.changed.items())
        texts.append(f"{settings}: {ratio.value:.3f} [{ratio.interval[0]:.3f}, {ratio.interval[1]:.3f}]")
    return ", ".join(texts)


def _agreement(backend: str, outside: Sequence[str], inside: Sequence[str]) -> Row:
    """Whether both name the same first cause of what a gap costs."""
    first, other = (next((code for code in codes if code in _AWAKE), "none") for codes in (outside, inside))
    met = None if first == other == "none" else first == other
    return {
        "what": f"{backend}: cause of the gap",
        "got": f"attach {first}, explain {other}",
        "goal": "the same",
        "met": met,
    }


if __name__ == "__main__":
    main()
