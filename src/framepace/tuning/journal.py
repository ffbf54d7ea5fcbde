"""What a tuning knows, and where it keeps it: candidates and primitives, saved as they come in, found again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from framepace.facts.primitives import Primitives
from framepace.facts.settings import Case
from framepace.facts.tuning import Candidate, Goal, Tuning
from framepace.store import write_atomic

TUNING, PRIMITIVES = "tuning.json", "primitives.json"


def key_of(case: Case, goal: Goal, machine: str, *parts: Any) -> str:
    """What must be alike for a tuning to go on from where another one ended."""
    told = msgspec.json.encode(msgspec.to_builtins([case, goal, machine, *parts]), order="sorted")
    return hashlib.sha256(told).hexdigest()[:12]


class Known:
    """Candidates by number, and primitives; in `folder` too, where there is one."""

    def __init__(self, goal: Goal, key: str, machine: str, folder: Path | None) -> None:
        self.goal, self.key, self.machine, self._folder = goal, key, machine, folder
        self.candidates: list[Candidate] = []
        self.primitives: Primitives | None = None
        self._load()

    def number(self, settings: Mapping[str, Any]) -> int:
        """The candidate with these settings; a new one where there is none."""
        found = next((n for n, c in enumerate(self.candidates) if c.settings == settings), None)
        if found is not None:
            return found
        self.candidates.append(Candidate(settings=dict(settings)))
        return len(self.candidates) - 1

    def change(self, number: int, **fields: Any) -> None:
        """Replace fields of a candidate; what was measured or predicted is saved."""
        self.candidates[number] = replace(self.candidates[number], **fields)
        if fields.keys() & {"measured", "predicted"}:
            self.save(Tuning(goal=self.goal, candidates=tuple(self.candidates)))

    def learn(self, more: Primitives) -> None:
        """Add primitives."""
        before: Sequence[Any] = () if self.primitives is None else self.primitives.costs
        costs = (*(c for c in before if c.model not in [m.model for m in more.costs]), *more.costs)
        self.primitives = replace(more, costs=tuple(costs))
        if self._folder is not None:
            write_atomic(self._folder / PRIMITIVES, msgspec.json.encode(self.primitives))

    def save(self, tuning: Tuning) -> None:
        """Write the tuning as it is."""
        if self._folder is not None:
            told = replace(tuning, key=self.key, machine=self.machine)
            write_atomic(self._folder / TUNING, msgspec.json.encode(told))

    def _load(self) -> None:
        """What an earlier run with the same key left; a damaged or other file counts as none."""
        if self._folder is None or not (self._folder / TUNING).is_file():
            return
        try:
            before = load_tuning(self._folder)
            if before.key == self.key:
                self.candidates = list(before.candidates)
                self.primitives = msgspec.json.decode((self._folder / PRIMITIVES).read_bytes(), type=Primitives)
        except (OSError, msgspec.DecodeError):
            return


def load_tuning(folder: Path) -> Tuning:
    """The tuning that was saved in `folder`."""
    return msgspec.json.decode((folder / TUNING).read_bytes(), type=Tuning)
