"""Public reports: each situation built anew, what a good engineer would answer, and what `explain` says.

The links are where people asked; the situations are in our words and built here, in virtual time where that is
possible. `--only WORD` runs those whose name holds the word.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from explain_hooks import Hooks
from report_cases import REPORTS, Report, Situation

from framepace.clock.virtual import VirtualClock
from framepace.errors import FramepaceError
from framepace.explaining.run import explain
from framepace.facts.finding import Explanation
from framepace.recording.machine import probe
from framepace.reporting.views.machine import machine_line

_VIRTUAL_LIMIT_S = 60.0
Row = dict[str, Any]


def answered(report: Report, folder: Path) -> Row:
    """What `explain` says of one report, and whether that is the engineer's answer."""
    try:
        found = _explained(report, report.make(folder))
    except FramepaceError as error:
        said = " ".join(str(error).split())
        return {"name": report.name, "agrees": report.refusal != "" and report.refusal in said, "said": said}
    return {"name": report.name, "agrees": report.agrees(found), "said": _said(found), "seconds": found.seconds}


def _explained(report: Report, situation: Situation) -> Explanation:
    clock = VirtualClock(quota=situation.quota) if situation.is_virtual else None
    Hooks.clock, Hooks.ns = clock, situation.hook_ns
    with ExitStack() as stack:
        if situation.beside is not None:
            stack.enter_context(situation.beside())
        return explain(situation.case, time_limit=situation.limit_s or _VIRTUAL_LIMIT_S, clock=clock)


def _said(found: Explanation) -> str:
    """The bottleneck, and the causes with what they say."""
    causes = "; ".join(f"{cause.code} {cause.title}: {cause.summary}" for cause in found.confirmed)
    return f"{found.bottleneck}; {causes or 'no cause'}"


def main() -> None:
    """Explain each report and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="reports whose name holds this text")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    args = parser.parse_args()
    chosen = [report for report in REPORTS if args.only in report.name]
    with tempfile.TemporaryDirectory() as folder:
        rows = [_shown(report, answered(report, Path(folder)), args.json) for report in chosen]
    agreed = sum(row["agrees"] for row in rows)
    if args.json:
        head = {"bench": "reports", "machine": machine_line(probe()), "agreed": agreed, "of": len(rows)}
        json.dump({**head, "rows": rows}, sys.stdout, indent=2)
        print()
    else:
        print(f"reports: {machine_line(probe())}\n{agreed} of {len(rows)} agree (goal: 90 %)")


def _shown(report: Report, row: Row, quiet: bool) -> Row:
    if not quiet:
        verdict = "agrees" if row["agrees"] else "DIFFERS"
        print(f"{report.name}  {verdict}\n  {report.link}\n  asked:    {report.situation}\n  engineer: {report.answer}")
        print(f"  explain:  {row['said'][:300]}\n", flush=True)
    return {**row, "link": report.link, "situation": report.situation, "answer": report.answer}


if __name__ == "__main__":
    main()
