"""The errors of logs: what was there, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from framepace import values
from framepace.errors import StoreError, UsageError
from framepace.inputfile import InputKind

EXPECTED = "a log with one row per frame or request: .csv, .tsv, .txt, .jsonl, .json or .parquet"
LOG = InputKind("the log", StoreError, EXPECTED, "check the path")


def not_understood(file: str, problem: str, fix: str | None = None) -> StoreError:
    """The error for a file that is no log, or a damaged one."""
    fix = fix or "write one row per frame, with the names of the columns in the first line"
    return StoreError(
        "the log cannot be understood", got=f"{file}: {values.shown(problem)}", expected=EXPECTED, fix=fix
    )


def question(text: str, got: str, answers: Sequence[str], expected: str) -> UsageError:
    """The one question about a log; `answers` are options that can be added to the same command as they are."""
    return UsageError(text, got=got, expected=expected, fix=f"add {' or '.join(answers)}")
