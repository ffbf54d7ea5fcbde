"""A tuned plan against the plain strategies with default settings: tuned first, then all of them paired, in one run.

On a CPU three OCR networks per frame, decoded video, the highest rate. On a GPU four ResNet-50 per frame, batches of 4,
frames in memory; the most cameras at 30 fps, tuned twice: with the batch as given, and where batches may grow over the
cameras; in FP16 where the accuracy gate lets it pass. All are run back to back; a frame is a picture.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import show
from contest import Round, compared, rounds, rows
from msgspec.structs import replace
from strategies import PLAIN, case

from framepace import api
from framepace.analyze.strategies import reasons
from framepace.facts.settings import Case, apply
from framepace.facts.summary import Estimate
from framepace.facts.tuning import Tuning
from framepace.facts.workload import Closed, Stop

BETTER = {"cpu": 1.3, "cuda": 2.0}
TUNED, ACROSS = "tuned", "tuned, batches over cameras"
ENGINE = ("workers", "worker-processes", TUNED, ACROSS)  # framepace's own
BETTER_ACROSS = 4.0
FOUR = ("builtin:resnet50@224x224",) * 4
GRID: dict[str, tuple[Any, ...]] = {"precision": ("fp16",), "graph": (True,), "workers": (1, 2, 4)}
LAYOUTS: dict[str, dict[str, tuple[Any, ...]]] = {
    "onnxruntime": {"option.nhwc": (None, True)},
    "torch": {"option.channels_last": (None, True)},
}


def on_cpu(args: argparse.Namespace) -> tuple[Case, dict[str, Tuning]]:
    """The OCR networks as people start with them, and tuned for the highest rate of one camera."""
    given = apply(case(args.seconds, 0), {"spinning": True})
    return given, {TUNED: api.tune(given, fps=10, p99_ms=300, cameras=1, objective="fps", time_limit=args.time_limit,
                                   out=args.out, tell=_tell)}  # fmt: skip


def on_gpu(args: argparse.Namespace) -> tuple[Case, dict[str, Tuning]]:
    """Four ResNet-50 on a GPU (or a simulated one), and tuned for the most cameras, without larger batches and with."""
    own, *others = args.backends
    settings = {"backend": own, "batch": 4}
    settings |= {"option.device": args.simulate} if own == "simulated" else {"device": "cuda"}
    given = api.make_case(FOUR, fps=None, scope="model", stop=Stop(seconds=args.seconds), settings=settings)
    grid = dict(GRID) | ({"backend": tuple(args.backends)} if others else {})
    for name in args.backends:
        grid |= LAYOUTS.get(name, {})
    return given, {
        name: api.tune(given, fps=30, p99_ms=args.p99_ms, objective="cameras", time_limit=args.time_limit,
                       vary=grid | more, out=args.out and args.out / folder, tell=_tell)
        for name, folder, more in ((TUNED, "tuned", {}), (ACROSS, "across", {"batch": tuple(args.batches)}))
        if folder in args.tunings
    }  # fmt: skip


def busy(given: Case) -> Case:
    """Back to back, with as many batches in flight as the plan has places for."""
    places = given.plan.engine.workers * max(model.slots for model in given.plan.models)
    return Case(plan=given.plan, workload=replace(given.workload, load=Closed(concurrency=places)))


def contenders(given: Case, tuned: Mapping[str, Tuning], plain: tuple[str, ...]) -> dict[str, Case]:
    """The plain strategies, and the plans that were found."""
    ways = {name: busy(apply(given, {"strategy": name})) for name in plain}
    plans = {name: found.plan for name, found in tuned.items() if found.plan is not None}
    return ways | {name: busy(Case(plan=plan, workload=given.workload)) for name, plan in plans.items()}


def verdicts(found: list[Round], device: str) -> list[dict[str, Any]]:
    """The tuned plans over the best of the strategies that people write: frames per second, and CPU time per frame."""
    plain = [name for name in found[0] if name not in ENGINE]
    fastest = max(plain, key=lambda name: compared(found, name, plain[0]).value)
    cheapest = min(plain, key=lambda name: compared(found, name, plain[0], "cpu").value)
    return [
        row
        for name, aim in ((TUNED, BETTER[device]), (ACROSS, BETTER_ACROSS))
        if name in found[0]
        for row in (
            _verdict(f"frames/s, {name} over {fastest}", compared(found, name, fastest), aim),
            _verdict(f"CPU time per frame, {cheapest} over {name}", compared(found, cheapest, name, "cpu"), None),
        )
    ]


def _verdict(what: str, ratio: Estimate, aim: float | None) -> dict[str, Any]:
    got = f"{ratio.value:.2f} [{ratio.low or 0:.2f}, {ratio.high or 0:.2f}]"
    goal = {} if aim is None else {"goal": f">= {aim}x", "met": ratio.value >= aim}
    return {"what": what, "got": got, "ratio": ratio.value, **goal}


def _tell(text: str, share: float | None) -> None:
    print(f"{share:4.0%} {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Tune, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=list(BETTER), default="cpu")
    parser.add_argument(
        "--backends",
        nargs="+",
        default=["onnxruntime"],
        help="on a GPU: that of the plain strategies, and what may be tuned to; 'simulated' needs none",
    )
    parser.add_argument(
        "--tunings",
        nargs="+",
        choices=["tuned", "across"],
        default=["tuned", "across"],
        help="on a GPU: with the batch as given, and with batches over cameras",
    )
    parser.add_argument("--batches", nargs="+", type=int, default=[16, 32], help="of those over cameras")
    parser.add_argument("--simulate", default="h200", help="the device that backend simulated stands for")
    parser.add_argument("--plain", nargs="+", default=list(PLAIN), help="the strategies to compare with")
    parser.add_argument("--p99-ms", type=float, default=100.0, help="what 99 %% of the frames must keep on a GPU")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--time-limit", type=float, default=180.0, help="of a tuning, seconds")
    parser.add_argument("--out", type=Path, help="folder for the tuned plan, its report and its traces")
    args = parser.parse_args()
    given, tuned = (on_cpu if args.device == "cpu" else on_gpu)(args)
    for name, each in tuned.items():
        _explain(name, each)
    found = rounds(contenders(given, tuned, tuple(args.plain)), args.rounds, args.seed)
    why = reasons(found[-1])
    show("tuned", args, rows(found, "back to back", args.plain[0]) + verdicts(found, args.device), why=why)
    if not args.json:
        print("\n".join(f"  {name}: {text}" for name, text in why.items()))


def _explain(name: str, tuned: Tuning) -> None:
    assert tuned.best is not None
    told = [f"{name} in {sum(tuned.seconds.values()):.0f} s: {tuned.candidates[tuned.best].settings}", tuned.why,
            *tuned.shortfalls, *tuned.notes]  # fmt: skip
    told += [f"{c.settings}: {c.error}" for c in tuned.candidates if c.error is not None]
    print("\n".join(filter(None, told)), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
