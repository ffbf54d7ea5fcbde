"""What attacks count, and the findings among it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

_Piece = TypeVar("_Piece")
Fault = Literal["traceback", "signal", "secret", "lost", "leftover", "alive"]
"""What must not happen: an unexpected exception, an end by signal, a secret in a text, a finished result that cannot
be read, a process or memory that stays, and what does not end."""
FAULTS: tuple[Fault, ...] = get_args(Fault)


@dataclass(frozen=True)
class Part:
    """A share of a full run: every `of`th piece of it, from piece `index` on, so that parts can run side by side."""

    index: int = 0
    of: int = 1

    def take(self, pieces: Sequence[_Piece]) -> Sequence[_Piece]:
        """The pieces that are this part's."""
        return pieces[self.index :: self.of]


WHOLE = Part()


@dataclass(frozen=True)
class Finding:
    """A fault that was found: `where` groups those with one cause, `kept` is a file or command to see it again."""

    fault: Fault
    kind: str
    where: str
    kept: str


@dataclass
class Counts:
    """Inputs, moments and faults tried, by kind; and the findings."""

    tried: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What could not be tried here, and why."""

    def add(self, other: Counts) -> None:
        """Add what another attack counted."""
        self.tried += other.tried
        self.findings += other.findings
        self.notes += other.notes

    def of(self, fault: Fault) -> int:
        """The number of findings of that fault."""
        return sum(finding.fault == fault for finding in self.findings)

    def document(self) -> dict[str, Any]:
        """The counts for `--json`."""
        faults: dict[str, int] = {fault: self.of(fault) for fault in FAULTS}
        groups = [{"count": count, **_plain(first)} for count, first in self._groups()]
        return {"inputs": self.tried.total(), **faults, "kinds": dict(self.tried), "found": groups, "notes": self.notes}

    def text(self) -> str:
        """The counts for people."""
        lines = [f"{kind:<24}{count:>8,}" for kind, count in self.tried.items()]
        lines += [f"{'inputs':<24}{self.tried.total():>8,}"]
        lines += [f"{fault:<24}{self.of(fault):>8,}" for fault in FAULTS]
        for count, first in self._groups():
            lines.append(f"{first.fault} in {first.kind}, {count} times: {first.where}\n  {first.kept}")
        return "\n".join([*lines, *self.notes])

    def _groups(self) -> list[tuple[int, Finding]]:
        """Findings with one cause: how many, and the first of them."""
        groups: dict[tuple[str, ...], list[Finding]] = {}
        for finding in self.findings:
            groups.setdefault((finding.fault, finding.kind, finding.where), []).append(finding)
        return [(len(group), group[0]) for group in groups.values()]


def _plain(finding: Finding) -> dict[str, str]:
    return {"fault": finding.fault, "kind": finding.kind, "where": finding.where, "kept": finding.kept}
