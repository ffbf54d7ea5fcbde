"""The view-model of an export: what became of the plan's settings, those that were changed first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from framepace.facts.exported import Exported, SettingAnswer

COLUMNS = ("setting", "value", "there", "how")
_SERVED = ("expressed", "approximated", "in the file", "not expressible")


@dataclass(frozen=True)
class ExportView:
    """Rows of the settings that the plan changes, a sentence on the others, and the notes."""

    sentence: str
    rows: tuple[tuple[str, str, str, str], ...]
    others: str
    notes: tuple[str, ...]


def export_view(exported: Exported) -> ExportView:
    """An export in words."""
    changed = [answer for answer in exported.answers if answer.changed and answer.kind in _SERVED]
    names = ", ".join(exported.models)
    return ExportView(
        sentence=f"{names}: {len(exported.files)} files in {exported.folder}",
        rows=tuple(_rows(changed, len(exported.models) > 1)),
        others=_others(exported.answers),
        notes=exported.notes,
    )


def _rows(answers: Iterable[SettingAnswer], several: bool) -> Iterator[tuple[str, str, str, str]]:
    for answer in answers:
        name = f"{answer.model}.{answer.setting}" if several else answer.setting
        how = f"{answer.how}; costs: {answer.cost}" if answer.cost else answer.how
        yield name, answer.value, answer.kind, how


def _others(answers: Iterable[SettingAnswer]) -> str:
    """Which settings that stand at their defaults the server does otherwise."""
    lost = dict.fromkeys(
        answer.setting for answer in answers if not answer.changed and answer.kind == "not expressible" and answer.cost
    )
    if not lost:
        return ""
    return f"at their defaults here, and not to be set there: {', '.join(lost)} (--json says what each costs)"
