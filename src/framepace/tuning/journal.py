"""Candidates and primitives of one tuning, saved as they arrive and reloaded by the same command."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from framepace.errors import StoreError
from framepace.facts.address import without_secrets
from framepace.facts.primitives import ModelCost, Primitives
from framepace.facts.settings import Case
from framepace.facts.tuning import Candidate, Goal, Tuning
from framepace.store import write_atomic

TUNING = "tuning.json"
PRIMITIVES = "primitives.json"


def key_of(case: Case, goal: Goal, machine: str, *parts: Any) -> str:
    """The hash of everything that must be equal for a tuning to continue another one."""
    text = msgspec.json.encode(msgspec.to_builtins([case, goal, machine, *parts]), order="sorted")
    return hashlib.sha256(text).hexdigest()[:12]


class TuningJournal:
    """Candidates by number, and primitives; in `folder` too, where there is one.

    An earlier tuning in the folder is continued where its key is the same; a damaged or other file counts as none.
    """

    def __init__(self, goal: Goal, key: str, machine: str, folder: Path | None) -> None:
        self.key = key
        self.machine = machine
        self.candidates: list[Candidate] = []
        self.primitives: Primitives | None = None
        self.unsaved = ""
        """Why the tuning is not saved any more; '' while it is."""
        self.damaged = ""
        """The part of an earlier tuning that could not be read, and why; '' if there is none."""
        self._goal = goal
        self._folder = folder
        self._load()

    def number_of(self, settings: Mapping[str, Any]) -> int:
        """The number of the candidate with these settings; a new one where there is none."""
        for number, candidate in enumerate(self.candidates):
            if candidate.settings == settings:
                return number
        self.candidates.append(Candidate(settings=dict(settings)))
        return len(self.candidates) - 1

    def change(self, number: int, **fields: Any) -> None:
        """Replace fields of a candidate; measurements and predictions are saved."""
        self.candidates[number] = replace(self.candidates[number], **fields)
        if fields.keys() & {"measured", "predicted"}:
            self.save(Tuning(goal=self._goal, candidates=tuple(self.candidates)))

    def fail(self, number: int, error: Exception) -> None:
        """Record that a candidate cannot be run, and why."""
        self.change(number, error=str(error) or type(error).__name__)

    def add_primitives(self, primitives: Primitives) -> None:
        """Add primitives; they replace older ones of the same models."""
        models = [cost.model for cost in primitives.costs]
        older = [cost for cost in self._costs() if cost.model not in models]
        self.primitives = replace(primitives, costs=(*older, *primitives.costs))
        self._write(PRIMITIVES, msgspec.json.encode(without_secrets(self.primitives)))

    def save(self, tuning: Tuning) -> None:
        """Write the tuning as it is."""
        self._write(TUNING, msgspec.json.encode(without_secrets(replace(tuning, key=self.key, machine=self.machine))))

    def _write(self, name: str, data: bytes) -> None:
        """Write a file; after the first one that cannot be written, everything stays in memory."""
        if self._folder is None or self.unsaved:
            return
        try:
            write_atomic(self._folder / name, data)
        except StoreError as error:
            self.unsaved = f"{name} was not saved: {error.what} ({error.got})"

    def _costs(self) -> tuple[ModelCost, ...]:
        if self.primitives is None:
            return ()
        return self.primitives.costs

    def _load(self) -> None:
        if self._folder is None or not (self._folder / TUNING).is_file():
            return
        try:
            before = load_tuning(self._folder)
            if before.key == self.key:
                self.candidates = list(before.candidates)
                self.primitives = msgspec.json.decode((self._folder / PRIMITIVES).read_bytes(), type=Primitives)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self.damaged = f"parts of an earlier tuning could not be read and are measured again: {error}"


def load_tuning(folder: Path) -> Tuning:
    """The tuning that was saved in `folder`."""
    return msgspec.json.decode((folder / TUNING).read_bytes(), type=Tuning)
