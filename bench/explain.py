"""How right `explain` is: labelled cases on the simulated device, and what it calls them.

For every case what each cause is worth is found by running the case without it, noise off. The top finding is right
when it names the cause worth the most (or one worth 80 % of that). The gain of the trial is held against what the cause
is worth, the verified one against what the settings bring without noise. Other seeds draw other cases.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from statistics import median
from typing import Any

import numpy as np
from explain_cases import QUIET, Labelled, draw, without
from explain_hooks import Hooks
from msgspec.structs import replace

from framepace.clock.virtual import VirtualClock
from framepace.errors import FramepaceError
from framepace.explaining.metrics import Samples, inference, interval, latency, tail
from framepace.explaining.run import explain
from framepace.facts.finding import Explanation
from framepace.facts.settings import Case, apply
from framepace.facts.trace import Trace
from framepace.facts.workload import Stop
from framepace.measure.session import measure
from framepace.recording.machine import probe
from framepace.reporting.views.machine import machine_line

_EQUAL = 0.8  # of the largest worth: causes that are nearly as large are as right
_HALVED = ("FP007", "FP008", "FP009", "FP018", "FP029")  # the trial makes these smaller, or finds how small they get
_OBSERVED = ("FP102",)  # says that the budget is missed, and leaves the cause to others
_NONE = "none"
_SAMPLES: Mapping[str, Callable[[Trace], Samples]] = {
    "median": latency, "interval": interval, "inference": inference
}  # fmt: skip


@dataclass
class Outcome:
    """One case: what was there, what was named, what the fix was said to bring."""

    name: str
    noise: int
    worth: dict[str, float]
    named: list[str]
    verdict: str
    truth: float | None = None
    predicted: float | None = None
    fixed: float | None = None
    verified: float | None = None
    seconds: float = 0.0
    error: str | None = None
    detail: Any = None
    tail: str | None = None


def judge(labelled: Labelled, time_limit: float) -> Outcome:
    """Explain one case, and compare with its truth."""
    worth = {code: _worth(labelled, code) for code in labelled.causes}
    try:
        found = _explained(labelled, time_limit)
    except FramepaceError as error:
        return Outcome(labelled.name, labelled.noise, worth, [], "failed", error=str(error))
    named = _of_the_typical_frame(found, labelled.tail)
    outcome = Outcome(labelled.name, labelled.noise, worth, named, _verdict(worth, named), seconds=found.seconds)
    _add_gain(outcome, labelled, found)
    if labelled.tail is not None:
        outcome.tail = _tail_verdict(found, labelled.tail)
    outcome.detail = _detail(found)
    return outcome


def _tail_verdict(found: Explanation, code: str) -> str:
    """Whether the first cause of the slowest frames is the one that was injected."""
    tails = [f.code for f in found.confirmed if f.intervention is not None and f.intervention.kind == "tail"]
    if not tails:
        return "undecided"
    return "right" if tails[0] == code else "wrong"


def _explained(labelled: Labelled, time_limit: float) -> Explanation:
    Hooks.clock, Hooks.ns = VirtualClock(quota=labelled.quota), labelled.hook_ns
    return explain(labelled.case, time_limit=time_limit, clock=Hooks.clock)


def _worth(labelled: Labelled, code: str) -> float:
    """What one cause costs, ns per frame: the case with it less the case without it."""
    return _level(labelled) - _level(labelled, code)


def _level(labelled: Labelled, *codes: str) -> float:
    return _level_of(labelled, without(labelled, *codes))


def _level_of(labelled: Labelled, case: Case) -> float:
    Hooks.clock, Hooks.ns = VirtualClock(quota=labelled.quota), labelled.hook_ns
    if labelled.measure == "inference":
        case = apply(case, {"scope": "model", "concurrency": 1})  # one that does not wait for another
    trace = measure(case.plan, replace(case.workload, stop=Stop(count=200)), clock=Hooks.clock)
    if labelled.measure == "tail":
        return float(np.mean(tail(trace)))
    return float(np.median(_SAMPLES[labelled.measure](trace)))


def _verdict(worth: dict[str, float], named: Sequence[str]) -> str:
    if not worth:
        return "flagged" if named else "right"
    if not named:
        return "undecided"
    largest = max(worth.values())
    return "right" if worth.get(named[0], 0.0) >= _EQUAL * largest else "wrong"


def _of_the_typical_frame(found: Explanation, tail: str | None) -> list[str]:
    """The causes named, but that of the slowest frames, which is judged by itself, and what is no cause."""
    apart = {tail, *_OBSERVED}
    return [finding.code for finding in found.confirmed if finding.code not in apart]


def _add_gain(outcome: Outcome, labelled: Labelled, found: Explanation) -> None:
    """What the trial and the verification said a change brings, and what it brings without noise."""
    if len(outcome.worth) != 1 or outcome.verdict != "right":
        return
    top = next(finding for finding in found.confirmed if finding.code == outcome.named[0])
    quiet = without(labelled)
    if top.gain is None or top.intervention is None:
        return
    outcome.predicted, outcome.verified = top.gain.predicted, top.gain.verified
    halved = apply(quiet, top.intervention.changed) if top.code in _HALVED else None
    before = _level(labelled)
    outcome.truth = outcome.worth[top.code] if halved is None else before - _level_of(labelled, halved)
    if outcome.verified is not None:
        patched = apply(replace(labelled.case, plan=found.plan), QUIET)
        outcome.fixed = before - _level_of(labelled, patched)


def _detail(found: Explanation) -> list[dict[str, Any]]:
    rows = [
        {
            "code": f.code,
            "verdict": f.verdict,
            "severity": f.severity,
            "evidence": f.evidence,
            "ratio": None if f.intervention is None else f.intervention.ratio.value,
        }
        for f in found.findings
    ]
    return [*rows, {"not tested": found.not_tested}]


def run(cases: Sequence[Labelled], time_limit: float, jobs: int) -> list[Outcome]:
    """All cases, in processes of their own; progress on standard error. Ctrl-C keeps what is done."""
    done: list[Outcome] = []
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(judge, case, time_limit) for case in cases]
        try:
            for future in as_completed(futures):
                done.append(future.result())
                right = sum(o.verdict == "right" for o in done)
                if sys.stderr.isatty() or len(done) % 20 == 0:
                    print(f"\r{len(done)}/{len(cases)} cases, {right} right ", end="", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
    print(file=sys.stderr)
    return done


def figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The shares that the bench is for, and the confusion matrix."""
    sick, healthy = [o for o in outcomes if o.worth], [o for o in outcomes if not o.worth]
    counts = Counter(o.verdict for o in sick)
    gains = [o.verified / o.fixed for o in outcomes if o.verified is not None and o.fixed]
    trials = [o.predicted / o.truth for o in outcomes if o.predicted is not None and o.truth]
    return {
        "cases": len(outcomes),
        "top_right": counts["right"] / max(1, len(sick)),
        "wrong": counts["wrong"] / max(1, len(sick)),
        "tail_right": _share_right([o.tail for o in outcomes if o.tail is not None]),
        "undecided": (counts["undecided"] + counts["failed"]) / max(1, len(sick)),
        "healthy_flagged": sum(o.verdict == "flagged" for o in healthy) / max(1, len(healthy)),
        "gain": _gain(gains),
        "trial": _gain(trials),
        "matrix": _matrix(outcomes),
    }


def _share_right(verdicts: Sequence[str]) -> float:
    return verdicts.count("right") / max(1, len(verdicts))


def _gain(ratios: Sequence[float]) -> dict[str, Any]:
    """Gain against truth: how many cases, the median ratio, and the share within 10 %."""
    if not ratios:
        return {"cases": 0}
    return {
        "cases": len(ratios),
        "median": median(ratios),
        "within_10_percent": sum(abs(r - 1) <= 0.1 for r in ratios) / len(ratios),
    }


def _matrix(outcomes: Sequence[Outcome]) -> dict[str, dict[str, int]]:
    """True cause (the largest) -> top finding -> cases."""
    matrix: dict[str, Counter[str]] = {}
    for o in outcomes:
        true = max(o.worth, key=lambda code: o.worth[code], default=_NONE)
        named = o.named[0] if o.named else _NONE
        if o.verdict == "right" and o.worth:
            true = named
        matrix.setdefault(true, Counter())[named] += 1
    return {true: dict(sorted(row.items())) for true, row in sorted(matrix.items())}


def text(found: dict[str, Any]) -> str:
    """The figures and the matrix for people."""
    goals = (
        ("top_right", ">= 96 %"),
        ("wrong", "<= 2 %"),
        ("undecided", ""),
        ("tail_right", ">= 95 %"),
        ("healthy_flagged", "<= 2 %"),
    )
    lines = [f"{found['cases']} cases"]
    lines += [f"  {name.replace('_', ' '):<16} {found[name]:7.1%}  {goal}" for name, goal in goals]
    for name, words in (("gain", "verified gain"), ("trial", "gain in the trial")):
        if found[name]["cases"]:
            g = found[name]
            lines.append(
                f"  {words} / truth: median {g['median']:.3f}, {g['within_10_percent']:.0%} of {g['cases']} within 10 %"
            )
    matrix = found["matrix"]
    columns = sorted({named for row in matrix.values() for named in row})
    lines.append("\ntrue \\ named " + " ".join(f"{c:>6}" for c in columns))
    for true, row in matrix.items():
        lines.append(f"{true:<12} " + " ".join(f"{row.get(c, ''):>6}" for c in columns))
    return "\n".join(lines)


def main() -> None:
    """Draw, explain, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--time-limit", type=float, default=60.0, help="of an explanation, virtual seconds")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--verbose", action="store_true", help="show the cases that are not right")
    args = parser.parse_args()
    outcomes = run([c for c in draw(args.seed) if args.only in c.name], args.time_limit, args.jobs)
    found = figures(outcomes)
    if args.verbose:
        for o in outcomes:
            if o.verdict != "right":
                print(json.dumps(asdict(o), default=str))
    machine = probe()
    if args.json:
        head = {"bench": "explain", "seed": args.seed, "machine": machine_line(machine)}
        json.dump({**head, **found, "outcomes": [asdict(o) for o in outcomes]}, sys.stdout, default=str)
        print()
    else:
        print(f"explain: seed {args.seed}; {machine_line(machine)}\n{text(found)}")


if __name__ == "__main__":
    main()
