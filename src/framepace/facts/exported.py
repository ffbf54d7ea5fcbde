"""What was written for another server, and what became there of each setting of a plan."""

from __future__ import annotations

from typing import Literal

from framepace.facts.base import Fact

AnswerKind = Literal["expressed", "approximated", "in the file", "not expressible", "client", "measuring"]
"""'client': whoever sends requests does it; 'measuring': no part of a plan that is served."""


class SettingAnswer(Fact, frozen=True, kw_only=True):
    """What became of one setting of one model: how, and what it costs where it is not expressed ('' for nothing).

    `value` is as typed; `changed`: it is not the default.
    """

    model: str
    setting: str
    value: str
    changed: bool
    kind: AnswerKind
    how: str
    cost: str = ""


class Exported(Fact, frozen=True, kw_only=True):
    """A plan that was written for another server: the folder, the models that it serves, its files and the answers."""

    folder: str
    models: tuple[str, ...]
    files: tuple[str, ...]
    answers: tuple[SettingAnswer, ...] = ()
    notes: tuple[str, ...] = ()
