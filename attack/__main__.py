"""`python -m attack`: counts by kind on standard output; exit code 1 when anything was found."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from attack import faults, fuzz, kills
from attack.counts import FAULTS, Counts, Part

KINDS = ("fuzz", "kills", "faults")


def options() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="attack", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--reader", help="fuzz one kind of input alone")
    parser.add_argument("--count", type=float, default=1.0, help="share of a full run: 0.1 is a tenth of its inputs")
    parser.add_argument("--part", type=_part, default=Part(), help="a share that can run beside others: 3/8")
    parser.add_argument("--folder", type=Path, help="where inputs are kept that found something")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _part(text: str) -> Part:
    """The part that is written I/N, counted from 1."""
    index, of = map(int, text.split("/"))
    if not 1 <= index <= of:
        raise ValueError(text)
    return Part(index - 1, of)


def main() -> int:
    """Run the attacks; Ctrl-C keeps the counts."""
    chosen = options()
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="attack-"))
    folder.mkdir(parents=True, exist_ok=True)
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell started it in the background
        signal.signal(number, signal.default_int_handler)
    counts = Counts()
    began = time.monotonic()
    try:
        _attack(chosen, folder, counts)
    except KeyboardInterrupt:
        counts.notes.append("interrupted: these are the counts so far")
    document = {"seed": chosen.seed, "seconds": round(time.monotonic() - began), **counts.document()}
    print(json.dumps(document, indent=1) if chosen.json else f"seed {chosen.seed}\n{counts.text()}")
    if not counts.findings and chosen.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    return int(any(counts.of(fault) for fault in FAULTS))


def _attack(chosen: argparse.Namespace, folder: Path, counts: Counts) -> None:
    shown = 0

    def tell(text: str) -> None:
        """Progress, with what was found since the last of it."""
        nonlocal shown
        print(text, file=sys.stderr, flush=True)
        for finding in counts.findings[shown:]:
            print(f"  {finding.fault} in {finding.kind}: {finding.where}", file=sys.stderr, flush=True)
        shown = len(counts.findings)

    if chosen.only in (None, "fuzz"):
        fuzz.attack(chosen.seed, folder, counts, tell, chosen.count, chosen.reader, chosen.part)
    if chosen.only in (None, "kills"):
        kills.attack(chosen.seed, folder, counts, tell, chosen.count, chosen.part)
    if chosen.only in (None, "faults"):
        faults.attack(chosen.seed, folder, counts, tell, chosen.count, chosen.part)


if __name__ == "__main__":
    sys.exit(main())
