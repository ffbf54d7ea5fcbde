"""What a low precision breaks, found and mended: random networks with planted faults, and healthy ones.

    python bench/accuracy.py [--seed 0] [--rounds 5] [--json]

75 cases by default, in FP16. A fault is found when the node that the hunt (for NaN and infinity) or else the ranking
puts first is one that was planted. `healthy_passed` is the share of healthy networks that need no node in FP32.
`extra_layers` is how many nodes more stay in FP32 than the planting needs, on average; `mended` is the share of faulty
networks that pass the gate on frames that the search has not seen.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accuracy_cases import FRAMES, Case, cases, pictures, write

import framepace
from framepace.video.stills import png

_LEAST_FOUND = 0.95
_MOST_EXTRA = 2.0


@dataclass(frozen=True)
class Outcome:
    """What came out of one case: the node that was put first, and those that stay in FP32."""

    case: Case
    first: str
    kept: frozenset[str]
    passed: bool
    seconds: float

    @property
    def found(self) -> bool:
        """Whether the first node is one that was planted; of a healthy network whether nothing was blamed."""
        if self.case.planted:
            return self.first in self.case.blamed
        return not self.kept and self.passed

    @property
    def extra(self) -> int:
        """Nodes more than needed."""
        return max(0, len(self.kept) - len(self.case.needed))


def outcome(case: Case, folder: Path, videos: Sequence[str]) -> Outcome:
    """Hunt, rank and mend one network."""
    began = time.monotonic()
    model = write(folder, case)
    mended = framepace.mend(model, frames=FRAMES, price=False, videos=list(videos))
    first = ""
    if not mended.before.passed:
        hunt = framepace.hunt(model, frames=FRAMES, videos=list(videos))
        blamed = [fault for fault in hunt.faults if fault.at_output]
        if blamed:
            first = blamed[0].node.name
        else:
            first = framepace.rank(model, frames=FRAMES, videos=list(videos)).nodes[0].node.name
    kept = frozenset(node.name for node in mended.kept)
    return Outcome(case, first, kept, mended.holds, time.monotonic() - began)


def run(seed: int, rounds: int) -> list[Outcome]:
    """All cases, each printed to standard error as it is done."""
    outcomes = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["FRAMEPACE_CACHE"] = str(folder / "cache")
        (folder / "pictures").mkdir()
        for file, picture in pictures(seed):
            (folder / "pictures" / file).write_bytes(png(picture))
        for case in cases(seed, rounds):
            result = outcome(case, folder, [str(folder / "pictures")])
            outcomes.append(result)
            print(_line(result), file=sys.stderr)
    return outcomes


def _line(result: Outcome) -> str:
    word = "found" if result.found else "MISSED"
    kept = f"{len(result.kept)} kept, {len(result.case.needed)} needed"
    passed = "" if result.passed else ", does not pass"
    return f"{result.case.name} {result.case.kind:32} {word:6} {kept}{passed}  {result.first}  {result.seconds:.1f} s"


def document(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """The figures."""
    faulty = [result for result in outcomes if result.case.planted]
    healthy = [result for result in outcomes if not result.case.planted]
    mended = [result for result in faulty if result.passed]
    return {
        "cases": len(outcomes),
        "found": sum(result.found for result in faulty) / len(faulty),
        "healthy_passed": sum(result.found for result in healthy) / len(healthy),
        "extra_layers": sum(result.extra for result in mended) / max(1, len(mended)),
        "mended": len(mended) / len(faulty),
        "seconds": round(sum(result.seconds for result in outcomes), 1),
    }


def main() -> int:
    """Print the figures; exit code 1 when one is not reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5, help="15 cases each")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = document(run(options.seed, options.rounds))
    if options.json:
        print(json.dumps(figures))
    else:
        print("\n".join(f"{name:15} {value:.3g}" for name, value in figures.items()))
    reached = figures["found"] >= _LEAST_FOUND and figures["extra_layers"] <= _MOST_EXTRA
    return int(not (reached and figures["healthy_passed"] == 1))


if __name__ == "__main__":
    sys.exit(main())
