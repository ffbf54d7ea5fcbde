"""The tuner against exhaustive search: what it reaches of the best there is, in which share of the measuring time.

On simulated devices in virtual time, where a run is the same again; with `--cpu` on this machine, four small workloads,
which takes long and wants quiet; with `--cuda` two on its GPU, or with `--networks FOLDER` as many ONNX files of others
(bench/network_exports.py), by ONNX Runtime. Both search the same grid with runs of the same length.
On a real machine the best of many runs is in part luck: there the tuner's plan and the best few of the exhaustive
search are measured again, in turn, and the medians of those new runs count. Times are those in which models were
loaded and run, for primitives and for trials; predictions run none.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from common import show
from msgspec.structs import replace

from framepace.api import make_case
from framepace.errors import FramepaceError
from framepace.facts.settings import Case, apply
from framepace.facts.tuning import Figures, Goal, Trial, Tuning, carried, tried
from framepace.facts.workload import Warmup
from framepace.lab.lab import Lab
from framepace.measure.session import clock_for
from framepace.store import save_json
from framepace.tuning.levels import next_level
from framepace.tuning.machineoptions import machine_options
from framepace.tuning.objective import case_at, figures, met, rate, scales, value
from framepace.tuning.search import came_out
from framepace.tuning.space import combinations, grid_axes
from framepace.tuning.tune import tune

REACHED, SHARE = 0.98, 0.10
GPU: dict[str, Sequence[Any]] = {
    "graph": (False, True), "workers": (1, 2, 4), "batch": (1, 2, 4, 8, 16), "batch-policy": ("window", "deadline"),
}  # fmt: skip
CPU: dict[str, Sequence[Any]] = {
    "threads": (1, 2), "workers": (1, 2, 3, 4), "batch": (1, 2, 4, 8), "batch-policy": ("window", "deadline"),
}  # fmt: skip
CUDA: dict[str, Sequence[Any]] = {"graph": (False, True), "workers": (1, 2, 4), "batch": (1, 4, 16)}
_SECONDS, _FRAMES, _WARMUP = (1.5, 6.0), 300, Warmup(tolerance=0.15, seconds_max=1.0)  # as the tuner's own
_FINE = 0.01  # of a level: finer than what is asked
_FINALISTS = 3  # how many of the best are measured again


class Known(msgspec.Struct, frozen=True):
    """What is known so far of a workload."""

    chosen: dict[str, Any] | None = None
    tuning_s: float = 0.0
    wall_s: float = 0.0
    truth: dict[str, tuple[Trial, ...]] = {}
    exhaustive_s: float = 0.0
    again: dict[str, list[float]] = msgspec.field(default_factory=dict)


Save = Callable[[Known], None]


@dataclass(frozen=True)
class Workload:
    """A model, where it runs, and what is asked."""

    name: str
    case: Case
    goal: Goal
    grid: dict[str, Sequence[Any]]


def simulated(seed: int) -> Iterator[Workload]:
    """Models on simulated devices; the most cameras, and the least p99 and CPU time for a number of them."""
    asked = (("resnet50", "t4", 33.3, None, "cameras"), ("resnet50", "h200", 33.3, None, "cameras"),
             ("detector", "t4", 10.0, 60, "p99"), ("resnet50", "t4", 33.3, 8, "cpu"))  # fmt: skip
    for model, device, p99, cameras, aim in asked:
        options = {"backend": "simulated", "option.device": device}
        case = make_case(f"builtin:{model}", p99_ms=p99, scope="pipeline", settings=options, seed=seed)
        goal = Goal(objective=aim, fps=30, p99_ms=p99, cameras=cameras)  # type: ignore[arg-type]
        yield Workload(f"{aim}: {model} on {device}", case, goal, GPU)


def on_cpu(seed: int) -> Iterator[Workload]:
    """Small networks on this machine's CPU; rates so low that a camera is less than what is asked of the tuner."""
    asked = (
        ("classifier", 5.0, 130.0),
        ("detector", 4.0, 200.0),
        ("manykernels", 15.0, 130.0),
        ("membound", 0.5, 400.0),
    )
    for model, fps, p99 in asked:
        case = make_case(f"builtin:{model}", fps=fps, p99_ms=p99, scope="pipeline", seed=seed)
        yield Workload(f"cameras: {model} on the CPU", case, Goal(fps=fps, p99_ms=p99), CPU)


def exported(folder: Path, seed: int) -> Iterator[Workload]:
    """Files of other people's networks on this machine's GPU, inputs on the host."""
    settings = {"backend": "onnxruntime", "device": "cuda", "option.algorithms": "heuristic"}
    for path in sorted(folder.glob("*.onnx")):
        case = make_case(str(path), p99_ms=33.3, scope="model", settings=settings, seed=seed)
        yield Workload(f"cameras: {path.stem}", case, Goal(fps=30, p99_ms=33.3), CUDA)


def on_cuda(seed: int) -> Iterator[Workload]:
    """A large network and a small one on this machine's GPU, inputs on the host."""
    for model in ("resnet50", "detector"):
        settings = {"backend": "torch", "device": "cuda"}
        case = make_case(f"builtin:{model}", p99_ms=33.3, scope="model", settings=settings, seed=seed)
        yield Workload(f"cameras: {model} by PyTorch", case, Goal(fps=30, p99_ms=33.3), CUDA)


def tuned(asked: Workload, known: Known, time_limit: float) -> Known:
    """The tuner's plan, and what it took."""
    if known.chosen is not None:
        return known
    began = time.perf_counter()
    told = [""]

    def tell(text: str, _: float | None) -> None:
        if text != told[0]:
            say(asked, f"{time.perf_counter() - began:.1f} s: {text}")
        told[0] = text

    found: Tuning = tune(asked.case, asked.goal, grid=asked.grid, time_limit=time_limit, tell=tell)
    assert found.best is not None
    spent = sum(found.seconds.get(part, 0.0) for part in ("primitives", "measurements"))
    if not clock_for(asked.case.plan).virtual:
        spent += found.seconds.get("predictions", 0.0)
    chosen = found.candidates[found.best]
    say(asked, f"tuned in {spent:.1f} s to {carried(chosen.measured)} with {chosen.settings}")
    return replace(known, chosen=dict(chosen.settings), tuning_s=spent, wall_s=time.perf_counter() - began)


def exhaustive(asked: Workload, known: Known, save: Save) -> Known:
    """Every combination measured as far as needed."""
    every = combinations(asked.case, grid_axes(asked.grid), machine_options(asked.case.plan))
    guess = 4
    for number, settings in enumerate(every):
        if str(settings) not in known.truth:
            with Lab(1e9, clock=clock_for(asked.case.plan)) as lab:
                trials = _all_trials(lab, asked, settings, guess)
                truth, seconds = {**known.truth, str(settings): trials}, known.exhaustive_s + lab.spent
            known = replace(known, truth=truth, exhaustive_s=seconds)
            save(known)
            say(asked, f"{number + 1}/{len(every)}: {worth(asked.goal, trials):g} with {settings}")
        guess = carried(known.truth[str(settings)]) or guess  # the next one is often like this one
    return known


def judged(asked: Workload, known: Known, save: Save, count: int) -> Known:
    """The chosen settings and the best few of all, measured `count` times more, in turn."""
    every = combinations(asked.case, grid_axes(asked.grid), machine_options(asked.case.plan))
    settings = {str(s): s for s in every}
    ranked = sorted(known.truth, key=lambda name: -worth(asked.goal, known.truth[name]))
    for name in dict.fromkeys((*ranked[:_FINALISTS], str(known.chosen))) if count else ():
        known.again.setdefault(name, [])
    while any(len(worths) < count for worths in known.again.values()):
        name = min(known.again, key=lambda n: len(known.again[n]))
        with Lab(1e9, clock=clock_for(asked.case.plan)) as lab:
            level = carried(known.truth[name]) or 1
            trials = _all_trials(lab, asked, settings[name], level)
        known.again[name].append(worth(asked.goal, trials))
        save(known)
        say(asked, f"again {known.again[name][-1]:g} with {name}")
    return known


def say(asked: Workload, text: str) -> None:
    """A line of progress."""
    print(f"{asked.name}: {text}", file=sys.stderr, flush=True)


def _all_trials(lab: Lab, asked: Workload, settings: dict[str, Any], guess: int) -> tuple[Trial, ...]:
    """The trials of a combination; none where one fails, as one that ends its device does: it carries nothing."""
    try:
        return tuple(_trials(lab, apply(asked.case, settings), asked.goal, guess))
    except FramepaceError as error:
        say(asked, f"failed with {settings}: {' '.join(str(error).split())[:200]}")
        return ()


def _trials(lab: Lab, case: Case, goal: Goal, guess: int) -> Iterator[Trial]:
    trials: list[Trial] = []
    while True:
        level = None if trials else goal.cameras
        if scales(goal):
            level = next_level(tried(trials), came_out(goal, trials) or guess, fine=_FINE)
        if level is None:
            return
        seconds = min(_SECONDS[1], max(_SECONDS[0], _FRAMES / rate(goal, level)))
        told: Figures = figures(lab.run(case_at(case, goal, level), seconds, warmup=_WARMUP))
        trials.append(Trial(level=level, figures=told, met=met(goal, told, level)))
        yield trials[-1]


def worth(goal: Goal, trials: Sequence[Trial]) -> float:
    """What was reached, the larger the better; 0 where the constraints were not kept."""
    if scales(goal):
        return float(carried(trials))
    kept = [t for t in trials if t.met]
    return len(kept) / sum(value(goal, t.figures) for t in kept) if kept else 0.0


def row(asked: Workload, folder: Path | None, time_limit: float, again: int) -> dict[str, Any]:
    """Both searches; the tuner's plan is judged by what the exhaustive search measured of it, or by new runs."""
    file = None if folder is None else folder / f"{asked.name.replace(': ', '-').replace(' ', '-')}.json"
    known = msgspec.json.decode(file.read_bytes(), type=Known) if file is not None and file.exists() else Known()

    def save(known: Known) -> None:
        if file is not None:
            save_json(known, file)

    known = tuned(asked, known, time_limit)
    save(known)
    known = exhaustive(asked, known, save)
    known = judged(asked, known, save, 0 if clock_for(asked.case.plan).virtual else again)
    values = {name: median(worths) for name, worths in known.again.items()}
    values = values or {name: worth(asked.goal, trials) for name, trials in known.truth.items()}
    own, best = values[str(known.chosen)], max(values.values())
    reached, share = own / best if best else 1.0, known.tuning_s / known.exhaustive_s
    return {
        "what": asked.name,
        "got": f"{reached:.1%} of the best in {share:.1%} of the time",
        "goal": f">= {REACHED:.0%} in <= {SHARE:.0%}",
        "met": reached >= REACHED and share <= SHARE,
        "reached": reached, "share": share, "tuning_s": known.tuning_s, "exhaustive_s": known.exhaustive_s,
        "wall_s": known.wall_s, "combinations": len(known.truth), "settings": known.chosen, "again": known.again,
    }  # fmt: skip


def _asked(args: argparse.Namespace) -> Iterator[Workload]:
    if args.cuda and args.networks is not None:
        return exported(args.networks, args.seed)
    return (on_cpu if args.cpu else on_cuda if args.cuda else simulated)(args.seed)


def main() -> None:
    """Search and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--seed", type=int, default=0)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--cpu", action="store_true", help="this machine's CPU instead of simulated devices")
    where.add_argument("--cuda", action="store_true", help="this machine's GPU instead of simulated devices")
    parser.add_argument("--networks", type=Path, help="with --cuda: a folder of ONNX files, instead of its own two")
    parser.add_argument("--again", type=int, default=3, help="times that the best few are measured again")
    parser.add_argument("--time-limit", type=float, default=300.0, help="of a tuning, seconds")
    parser.add_argument("--out", type=Path, help="folder where all is kept as it comes; a search there is gone on with")
    parser.add_argument("--only", type=int, help="only the workload of that number, from 0")
    args = parser.parse_args()
    asked = list(_asked(args))
    chosen = range(len(asked)) if args.only is None else [args.only]
    show("tuner", args, [row(asked[n], args.out, args.time_limit, args.again) for n in chosen])


if __name__ == "__main__":
    main()
