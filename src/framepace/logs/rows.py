"""The rows of a log that become rows of a trace, in the order of their times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from framepace.errors import NotEnoughSamples
from framepace.facts.log import LogColumn, Role
from framepace.facts.trace import Column, Outcome
from framepace.logs.roles import Roles
from framepace.logs.table import Cells, Floats
from framepace.logs.times import Times

LONGEST_NAME = 64  # letters of a camera, a model or the log
_MOST_NAMES = 64  # of models, cameras or workers
_LONGEST_NS = 1e18  # 31 years
_LARGEST = 4e18
_LARGEST_COUNT = 1e9
_NO_FAILURE = ("", "ok", "none", "0", "no", "success", "-", "null", "nan")


class LogRows:
    """The rows that are kept.

    Args:
        times: when frames began and how long they took, of all rows.

    Raises NotEnoughSamples where no row has a latency.
    """

    def __init__(self, times: Times) -> None:
        self.roles = times.roles
        self._stages = times.stages
        outcome = _outcome(times.roles)
        self.kept = _kept(times, outcome)
        self.outcome = outcome[self.kept]
        self.due = whole_numbers(times.due[self.kept] - times.due[self.kept].min())
        self.latency = whole_numbers(np.nan_to_num(times.latency[self.kept]))

    def __len__(self) -> int:
        return len(self.kept)

    def zeros(self) -> Column:
        """0 for each row."""
        return np.zeros(len(self), np.int64)

    def has_stage(self, role: Role) -> bool:
        """Whether a stage is logged."""
        return role in self._stages

    def stage(self, role: Role) -> Column:
        """A stage of the rows, ns; 0 where it is not logged."""
        if not self.has_stage(role):
            return self.zeros()
        return whole_numbers(self._stages[role][self.kept])

    def column(self, role: Role) -> LogColumn | None:
        """The first column of this role."""
        return next(iter(self.roles.named(role)), None)

    def numbers(self, column: LogColumn | None) -> Floats:
        """The numbers of a column; NaN where a cell has none, or there is no column."""
        if column is None:
            return np.full(len(self), np.nan)
        return self.roles.numbers(column)[self.kept]

    def counts(self, role: Role, default: int = 0) -> Column:
        """A column of whole numbers; `default` where a cell has none."""
        numbers = np.clip(self.numbers(self.column(role)), 0, _LARGEST_COUNT)
        return whole_numbers(np.nan_to_num(numbers, nan=default))

    def codes(self, role: Role) -> tuple[Column, tuple[str, ...]]:
        """What a column names ('camera 2') as numbers from 0, with the names; no names without one, or with many."""
        column = self.column(role)
        if column is None:
            return self.zeros(), ()
        labels = _labels(self.roles.table.columns[column.name], self.kept)
        names = list(dict.fromkeys(labels))
        if len(names) > _MOST_NAMES:
            return self.zeros(), ()
        codes = {name: code for code, name in enumerate(names)}
        shortened = tuple(name[:LONGEST_NAME] or "unnamed" for name in names)
        return np.array([codes[label] for label in labels], np.int64), shortened


def whole_numbers(numbers: Floats) -> Column:
    """The numbers rounded, as far as they fit."""
    return np.rint(np.clip(numbers, -_LARGEST, _LARGEST)).astype(np.int64)


def _kept(times: Times, outcome: Column) -> NDArray[np.intp]:
    """Rows with a moment, and with a latency unless they were lost, in the order of their moments."""
    delivered = np.isfinite(times.latency) & (np.nan_to_num(times.latency) < _LONGEST_NS)
    keep = _near_others(times.due) & (delivered | (outcome != Outcome.OK))
    if not (keep & (outcome == Outcome.OK)).any():
        got = f"{times.roles.table.file}: {len(outcome):,} rows"
        fix = "name the column with the latency: --column latency=COLUMN"
        raise NotEnoughSamples("no row of the log has a latency", got=got, fix=fix)
    rows = np.flatnonzero(keep)
    return rows[np.argsort(times.due[rows], kind="stable")]


def _near_others(due: Floats) -> NDArray[np.bool_]:
    """Rows with a moment that is not years away from the others, as a damaged one is."""
    finite = due[np.isfinite(due)]
    if not len(finite):
        return np.zeros(len(due), dtype=bool)
    return np.asarray(np.abs(due - np.median(finite)) < _LONGEST_NS)


def _outcome(roles: Roles) -> Column:
    """The outcome of each row of the log."""
    outcome = np.full(roles.table.rows, Outcome.OK, np.int64)
    for column in roles.named("dropped"):
        outcome[np.nan_to_num(roles.numbers(column)) > 0] = Outcome.DROPPED
    for column in roles.named("failed"):
        outcome[_is_failure(roles.table.columns[column.name], roles.numbers(column))] = Outcome.FAILED
    return outcome


def _is_failure(cells: Cells, numbers: Floats) -> NDArray[np.bool_]:
    """Rows that say 1, or what failed."""
    if cells.words is not None:
        return np.array([word.strip().lower() not in _NO_FAILURE for word in cells.words])
    return np.asarray(np.nan_to_num(numbers) > 0)


def _labels(cells: Cells, rows: NDArray[np.intp]) -> list[str]:
    """What the cells say, as text."""
    if cells.words is not None:
        return [cells.words[row] for row in rows.tolist()]
    if cells.numbers is not None:
        return [f"{number:g}" for number in cells.numbers[rows].tolist()]
    return [""] * len(rows)
