"""Known causes on real hardware: each is injected, `explain` runs afresh, and must name the right one at the top.

`--device cpu` needs nothing but this machine, and takes exported networks from `--networks` where they are there;
`--device cuda` needs a GPU, or `--backend simulated` for a dry run; `--device networks` a GPU and the files that
`bench/network_exports.py` writes into `--networks`.
Every repetition runs in a process of its own and is saved at once (`--out`); Ctrl-C keeps what was done.

All causes of the CPU four times on 16 cores, two cores each, in six minutes (with 30 s an explanation often has time
for one trial only); where two neighbouring cores are threads of one, take half the jobs:

    python bench/injected.py --repeat 4 --time-limit 40 --jobs 8 --out rows.jsonl
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from common import show
from cpu_injections import CPU, EXPORTS
from injections import GPU, Injection, Setup, Unavailable, part
from network_injections import NETWORKS
from pinned import Cores, run_on, side_by_side
from rich.console import Console
from rich.table import Table

from framepace import api
from framepace.errors import FramepaceError
from framepace.facts.finding import Explanation, Finding
from framepace.facts.settings import apply
from framepace.recording.machine import probe
from framepace.reporting.views.machine import machine_line

Row = dict[str, Any]
Task = tuple[str, int]  # the cause, and which repetition of it
INJECTIONS: Mapping[str, Mapping[str, Injection]] = {"cpu": CPU, "cuda": GPU, "networks": NETWORKS}
_PATIENCE_S = 600  # beyond its limit, before a repetition is ended: engines may be built in it


def main() -> None:
    """Inject, explain, count, print."""
    args = _options()
    if args.one is not None:
        print(json.dumps(repetition(args.one, args)))
        return
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        run = partial(_afresh, args=args, folder=folder)
        try:
            for row in side_by_side(_tasks(args), run, args.jobs):
                rows.append(row)
                _keep(row, args)
        except KeyboardInterrupt:
            print("interrupted: what was done so far", file=sys.stderr)
    if rows:
        _print(rows, args)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=list(INJECTIONS), default="cpu")
    parser.add_argument("--backend", default="onnxruntime", help="on a GPU; 'simulated' needs none")
    parser.add_argument("--simulate", default="h200", help="the device that backend simulated stands for")
    parser.add_argument("--networks", type=Path, default=EXPORTS, help="folder of exported networks")
    parser.add_argument("--only", nargs="+", help="causes to inject")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="repetitions at once, each on its share of the cores")
    parser.add_argument("--part", default="1/1", metavar="I/N", help="each Nth repetition from the Ith on")
    parser.add_argument("--time-limit", type=float, help="seconds for each explanation; each cause has its own")
    parser.add_argument("--out", type=Path, help="file for one JSON line a repetition, written as it comes")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--model", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    known = INJECTIONS[args.device]
    args.only = args.only or list(known)
    if unknown := [name for name in args.only if name not in known]:
        parser.error(f"no such cause on {args.device}: {', '.join(unknown)}; known: {', '.join(known)}")
    return args


def _tasks(args: argparse.Namespace) -> list[Task]:
    """The repetitions of this part: each cause once, then each a second time, and so on."""
    first, step = (int(number) for number in args.part.split("/"))
    tasks = [(name, turn) for turn in range(args.repeat) for name in args.only]
    return tasks[first - 1 :: step]


def _afresh(task: Task, cores: Cores, args: argparse.Namespace, folder: str) -> Row:
    """One repetition in a process of its own: nothing is warm, and what breaks takes only itself along."""
    name, turn = task
    limit = args.time_limit or INJECTIONS[args.device][name].limit
    model = _model(INJECTIONS[args.device][name].models, turn, args.networks)
    given = ["--device", args.device, "--backend", args.backend, "--simulate", args.simulate, "--folder", folder]
    given += ["--one", name, "--time-limit", str(limit), "--seed", str(args.seed + turn)]
    given += ["--networks", str(args.networks), "--model", model]
    head = {"cause": name, "turn": turn, "model": Path(model).stem}
    try:
        said = run_on(cores, [__file__, *given], limit + _PATIENCE_S)
        return {**head, **json.loads(said.splitlines()[-1])}
    except (subprocess.TimeoutExpired, IndexError, ValueError) as error:
        return {**head, "error": f"{type(error).__name__}: the repetition gave no answer"}


def _model(models: Sequence[str], turn: int, networks: Path) -> str:
    """The network of a repetition: they take turns, and only built-in ones do where no file is there."""
    files = [name if name.startswith("builtin:") else str(networks / f"{name}.onnx") for name in models]
    usable = [file for file in files if file.startswith("builtin:") or Path(file).is_file()]
    return usable[turn % len(usable)] if usable else ""


def repetition(name: str, args: argparse.Namespace) -> Row:
    """What `explain` said of one injected cause."""
    injection: Injection = INJECTIONS[args.device][name]
    options = {"device": args.simulate} if args.backend == "simulated" else {}
    setup = Setup(args.folder, args.backend, options, args.networks, args.model)
    try:
        case = apply(injection.make(setup), {"seed": args.seed})
        if args.backend == "tensorrt":
            injection.build(case)
        with injection.beside():
            found = api.explain(case, time_limit=args.time_limit, tell=_teller(name), raise_priority=True)
        return judged(injection, found, injection.after(case, found))
    except Unavailable as error:
        return {"outcome": "skipped", "error": str(error)}
    except FramepaceError as error:
        return {"error": " / ".join(str(error).split("\n"))}
    except KeyboardInterrupt:
        return {"error": "interrupted"}


def _teller(name: str) -> Any:
    def tell(text: str, share: float) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{name} {share:4.0%} {text[:90]}", end="", file=sys.stderr, flush=True)

    return tell


def judged(injection: Injection, found: Explanation, more: Row) -> Row:
    """The outcome and what it rests on; `more` is what was measured with the remedy, which must hold.

    'right' and 'wrong' are said of the confirmed finding at the top, 'undecided' when nothing is confirmed.
    """
    top = next((finding for finding in found.confirmed if finding.intervention is not None), None)
    named = None if top is None else _label(top)
    fits = top is not None and injection.fits(top)
    if fits and not more.get("held", True):
        fits, named = False, f"{named}, whose remedy does not hold"
    return {
        "outcome": _outcome(injection, top is not None, fits),
        "named": named,
        "gain": None if top is None else _gain(top),
        "findings": [_brief(finding) for finding in found.findings],
        "not tested": found.not_tested,
        "bottleneck": found.bottleneck,
        "others": found.summaries["stream"].neighbours_cpu,
        "latency ms": round(found.summaries["stream"].frames.mean / 1e6, 4),
        "seconds": round(found.seconds, 1),
        **more,
    }


def _outcome(injection: Injection, found: bool, fits: bool) -> str:
    if not found:
        return "undecided" if injection.expected else "right"
    return "right" if fits else "wrong"


def _label(finding: Finding) -> str:
    """The code, with the stage or event where a code stands for several."""
    return " ".join(filter(None, (finding.code, part(finding))))


def _gain(finding: Finding) -> Row | None:
    """The gain that was measured with the remedy (ms), and whether its whole interval is one; None if none was."""
    gain = finding.gain
    if gain is None or gain.verified is None:
        return None
    sure = gain.interval is not None and gain.interval[0] > 0
    return {"ms": round(gain.verified / 1e6, 3), "interval": gain.interval, "sure": sure}


def _brief(finding: Finding) -> str:
    record = finding.intervention
    ratio = "" if record is None else f" x{record.ratio.value:.3f} [{record.ratio.low}, {record.ratio.high}]"
    return f"{_label(finding)} {finding.verdict} {finding.severity}{ratio}"


def _keep(row: Row, args: argparse.Namespace) -> None:
    said = row.get("error") or f"{row['outcome']}: {row['named']} ({row['seconds']} s)"
    print(f"\r\033[K{row['cause']} {row['turn'] + 1}/{args.repeat}: {said}", file=sys.stderr, flush=True)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with args.out.open("a") as file:
            file.write(json.dumps({"device": args.device, "backend": args.backend, **row}) + "\n")


def tabulate(rows: Sequence[Row], known: Mapping[str, Injection]) -> list[Row]:
    """One line a cause: how often right, wrong (with what), undecided, and the gains that were verified."""
    causes = dict.fromkeys(row["cause"] for row in rows)
    return [_line(cause, known[cause], [row for row in rows if row["cause"] == cause]) for cause in causes]


def _line(cause: str, injection: Injection, rows: Sequence[Row]) -> Row:
    count = Counter(row.get("outcome", "failed") for row in rows)
    tried = len(rows) - count["skipped"]
    wrong = Counter(row["named"] for row in rows if row.get("outcome") == "wrong")
    gains = [row["gain"]["ms"] for row in rows if row.get("outcome") == "right" and (row["gain"] or {}).get("sure")]
    return {
        "what": cause,
        "expected": " or ".join(injection.expected),
        "got": f"{count['right']} of {tried}",
        "goal": ">= 9 of 10",
        "met": 10 * count["right"] >= 9 * tried if tried else None,
        "wrong": ", ".join(f"{number} x {what}" for what, number in wrong.items()),
        "undecided": count["undecided"],
        "failed": count["failed"],
        "skipped": count["skipped"],
        "others' CPU": _share([row["others"] for row in rows if row.get("others") is not None]),
        "gain verified": f"{len(gains)} of {count['right']}, {median(gains):.3g} ms" if gains else "",
    }


def _share(shares: Sequence[float]) -> str:
    """What other processes took of the machine while the stream was measured: a busy machine spoils verdicts."""
    return f"{median(shares):.0%}" if shares else ""


def _print(rows: Sequence[Row], args: argparse.Namespace) -> None:
    lines = tabulate(rows, INJECTIONS[args.device])
    if args.json:
        show("injected", args, lines, repetitions=list(rows))
        return
    print(f"injected: {machine_line(probe())}")
    heads = {"what": "cause", "expected": "expected", "got": "right", "wrong": "wrong", "undecided": "undecided"}
    heads |= {name: name for name in ("failed", "skipped", "gain verified", "others' CPU", "met")}
    _table(heads, lines)
    if remedied := [{**row, **_flat(row["runs"])} for row in rows if "runs" in row]:
        units = _flat(remedied[0]["runs"])
        print("back to back / with gaps / with gaps and the remedy of the cause named:")
        _table({name: name for name in ("cause", "named", *units, "of gapless", "held", "remedy", "cost")}, remedied)


def _flat(runs: Mapping[str, Mapping[str, float]]) -> Row:
    """Each measure over the runs, in their order, in one cell."""
    units = dict.fromkeys(unit for costs in runs.values() for unit in costs)
    return {unit: " / ".join(f"{costs[unit]:.4g}" for costs in runs.values() if unit in costs) for unit in units}


def _table(heads: Mapping[str, str], rows: Sequence[Row]) -> None:
    table = Table(*heads.values())
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in heads))
    # Piped into a file a table must not be cut to 80 columns.
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _cell(value: Any) -> str:
    return {True: "yes", False: "NO", None: ""}[value] if isinstance(value, bool | None) else str(value)


if __name__ == "__main__":
    main()
