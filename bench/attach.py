"""Programs as people write them: does `attach --explain` name their one known cause, and stay silent of healthy ones?

Each program of `bench/attach_cases.py` runs healthy and ill. What is named first must be right: a proven setting by its
cause, else the first suspicion. The programs need opencv-python-headless, Pillow, PyAV and ONNX Runtime: `--python`.

    python bench/attach.py --python ENV/bin/python --repeat 3        # about two hours on 2 cores
    python bench/attach.py --python ENV/bin/python --only seeking    # one program
    python bench/attach.py --python ENV/bin/python --cost            # what the probe costs
    python bench/attach.py --agreement                               # the same frames by attach and by bench
    python bench/attach.py --python ENV/bin/python --real            # programs of other people: ten minutes
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attach_agreement import agreement_rows
from attach_cases import CASES, Case
from attach_cost import cost_rows
from attach_files import make_files
from attach_real import REAL, real_rows
from common import show

from framepace import api
from framepace.attaching.program import observe
from framepace.errors import FramepaceError
from framepace.facts.log import Suspected
from framepace.facts.plan import Target
from framepace.facts.programtrial import ProgramExplanation

PROGRAMS = Path(__file__).resolve().parent.parent / "tests" / "programs"
DATA = PROGRAMS.parent.parent / ".data"  # see `make data`
FORMS = ("healthy", "ill")
Row = dict[str, Any]
Task = tuple[str, str]  # the program, and its form
_GOALS = {"right": (0.95, "at least"), "wrong": (0.02, "at most"), "flagged": (0.02, "at most")}


def main() -> None:
    """Run, judge, count, print."""
    args = _options()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder)
        if args.agreement:
            show("attach, agreement", args, list(agreement_rows(folder)))
            return
        if args.cost:
            show("attach, cost", args, list(cost_rows(args.python, folder)))
            return
        if args.real is not None:
            names = args.real or list(REAL)
            show("attach, real programs", args, list(_told(real_rows(args.python, DATA, folder, names, args.seconds))))
            return
        rows = []
        try:
            for task in _tasks(args):
                rows.append(_judged(task, args, folder))
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            print("interrupted: what was done so far", file=sys.stderr)
    show("attach", args, list(_counts(rows)), explanations=rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="the Python that runs the programs")
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES), metavar="PROGRAM")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--part", default="1/1", metavar="I/N", help="each Nth explanation from the Ith on")
    parser.add_argument("--cost", action="store_true", help="what the probe costs, instead")
    parser.add_argument("--agreement", action="store_true", help="what attach and bench tell of one run, instead")
    parser.add_argument("--real", nargs="*", choices=list(REAL), metavar="NAME", help="programs of others, instead")
    parser.add_argument("--seconds", type=float, default=50.0, help="for each of them")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--seed", type=int, default=0, help="kept with the result; nothing here is random")
    return parser.parse_args()


def _told(rows: Iterator[Row]) -> Iterator[Row]:
    """The rows, each on standard error as soon as it is there."""
    for row in rows:
        print(json.dumps(row), file=sys.stderr, flush=True)
        yield row


def _tasks(args: argparse.Namespace) -> list[Task]:
    first, step = (int(number) for number in args.part.split("/"))
    tasks = [(name, form) for _ in range(args.repeat) for name in args.only for form in args.forms]
    return tasks[first - 1 :: step]


def _judged(task: Task, args: argparse.Namespace, folder: Path) -> Row:
    """What was said of a program, and whether it is right."""
    name, form = task
    case = CASES[name]
    command = [args.python, str(PROGRAMS / f"{name}.py"), str(folder / "small.mp4")]
    command += [str(folder / f"{case.model}.onnx"), form]
    try:
        answer = api.explain_program(command, fps=case.fps, time_limit=case.seconds)
        if answer.interrupted:
            raise KeyboardInterrupt
        evidence = _evidence(command, case, folder)
    except FramepaceError as error:
        return {"program": name, "form": form, "verdict": "failed", "named": [], "evidence": "", "error": str(error)}
    named = list(_named(answer))
    return {
        "program": name,
        "form": form,
        "verdict": _verdict(named, form, case),
        "named": named,
        "evidence": evidence,
        "runs": answer.runs,
        "seconds": round(answer.seconds, 1),
        "latency_ms": round(answer.summary.frames.mean / 1e6, 2),
        "tried": {str(trial.settings): trial.verdict for trial in answer.trials},
    }


def _evidence(command: Sequence[str], case: Case, folder: Path) -> str:
    """What `explain` suspects first from a trace of one run."""
    trace = folder / "trace"
    observe(command, trace, Target(fps=case.fps), overwrite=True, quiet=True)
    return _words(api.explain_log(trace).suspected[0])


def _named(answer: ProgramExplanation) -> Iterator[str]:
    """The causes in the order in which they are shown: what is proven first."""
    for trial in answer.trials:
        if trial.verdict == "confirmed":
            yield f"{trial.code} proven"
    yield from map(_words, answer.suspected)


def _words(one: Suspected) -> str:
    return f"{one.code} {one.title}".strip()


def _verdict(named: Sequence[str], form: str, case: Case) -> str:
    """Of the first cause that is not simply true of the machine."""
    others = [one for one in named if not _is_one_of(one, case.true)]
    if form == "healthy":
        return "flagged" if others else "silent"
    if not others:
        return "undecided"
    return "right" if _is_one_of(others[0], case.right) else "wrong"


def _is_one_of(named: str, causes: Sequence[str]) -> bool:
    """By its code or by its title."""
    code, _, title = named.partition(" ")
    return any(code == cause or title.startswith(cause) or named.startswith(cause) for cause in causes)


def _counts(rows: Sequence[Row]) -> Iterator[Row]:
    for form, verdicts in (("ill", ("right", "wrong", "undecided")), ("healthy", ("silent", "flagged"))):
        own = [row for row in rows if row["form"] == form]
        counts = Counter(row["verdict"] for row in own)
        for verdict in (*verdicts, "failed"):
            yield _count(form, verdict, counts[verdict], len(own))
    ill = [row for row in rows if row["form"] == "ill"]
    by_evidence = sum(_is_one_of(row["evidence"], CASES[row["program"]].right) for row in ill)
    yield {"what": "ill: right by the trace alone", "got": f"{by_evidence} of {len(ill)}"}


def _count(form: str, verdict: str, count: int, total: int) -> Row:
    row: Row = {"what": f"{form}: {verdict}", "got": f"{count} of {total}"}
    if verdict not in _GOALS or not total:
        return row
    goal, side = _GOALS[verdict]
    met = count >= goal * total if side == "at least" else count <= goal * total
    return {**row, "goal": f"{side} {goal:.0%}", "met": met}


if __name__ == "__main__":
    main()
