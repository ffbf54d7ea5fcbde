"""What the cells of a sweep say together; those of unlike machines are kept apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from framepace.analyze.batches import batch_scaling, batch_sentence, padding_sentence
from framepace.analyze.settling import gap_sentence
from framepace.analyze.shares import share_sentence
from framepace.analyze.strategies import reasons
from framepace.analyze.sweeps import best_sentence
from framepace.facts.settings import text as settings_text
from framepace.facts.summary import Summary
from framepace.facts.sweep import Cell
from framepace.units import NS_PER_S

_ALL_SMS = (None, "none")


def answers(done: Sequence[Cell], grid: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """What the cells say together, in sentences: gaps, batches, parts of a device, and the best cell.

    Only cells of like machines are compared.
    """
    groups = by_kind(done)
    for hardware, group in groups:
        for answer in _answers(group, grid):
            yield answer if len(groups) == 1 else f"{hardware}: {answer}"


def by_kind(done: Sequence[Cell]) -> list[tuple[str, list[Cell]]]:
    """The cells of each kind of machine, with what it is; cells that nobody measured on a cluster are one kind."""
    groups: dict[str, tuple[str, list[Cell]]] = {}
    for cell in done:
        kind, hardware = ("", "without a cluster") if cell.site is None else (cell.site.kind, cell.site.hardware)
        groups.setdefault(kind, (hardware, []))[1].append(cell)
    return list(groups.values())


def unlike(done: Sequence[Cell]) -> list[str]:
    """The word that not all cells can be compared, where machines differ."""
    kinds = [hardware for hardware, _ in by_kind([cell for cell in done if cell.summary is not None])]
    if len(kinds) < 2:
        return []
    return [f"measured on unlike machines, which are not compared with each other: {', '.join(kinds)}"]


def _answers(done: Sequence[Cell], grid: Mapping[str, Sequence[str]]) -> Iterator[str]:
    gaps = gap_sentence([cell.settling for cell in done if cell.settling is not None])
    if gaps:
        yield gaps
    yield from _batches(done)
    yield from _shares(done)
    best = best_sentence(done, grid)
    if best is not None and not gaps:  # the gaps decide how many frames come
        yield best


def _batches(done: Sequence[Cell]) -> Iterator[str]:
    """What batches bring, and which of them are better padded."""
    for others, alternatives in _by_other_settings(done, "batch"):
        per_image = dict(_per_image(alternatives))
        scaling = batch_scaling(per_image)
        if scaling is not None:
            sentence = batch_sentence(scaling, _sm_activity(alternatives, scaling.smallest), _kernels(alternatives))
            yield f"{others}: {sentence}" if others else sentence
            pays = padding_sentence(per_image, _medians(alternatives))
            if pays:
                yield f"{others}: {pays}" if others else pays


def _shares(done: Sequence[Cell]) -> Iterator[str]:
    """A sentence per limit of SMs, beside the cell without one."""
    for others, alternatives in _by_other_settings(done, "sms"):
        whole = next((summary for cell, summary in alternatives if cell.settings["sms"] in _ALL_SMS), None)
        for cell, summary in alternatives:
            if whole is not None and summary is not whole:
                sentence = share_sentence(f"sms={cell.settings['sms']}", summary, whole)
                yield f"{others}: {sentence}" if others else sentence


def _by_other_settings(done: Sequence[Cell], name: str) -> Iterator[tuple[str, list[tuple[Cell, Summary]]]]:
    """The measured cells that differ in the setting `name` only, with the text of the other settings."""
    groups: dict[str, list[tuple[Cell, Summary]]] = {}
    for cell in done:
        if cell.summary is not None and name in cell.settings:
            others = settings_text(_other_settings(cell, name))
            groups.setdefault(others, []).append((cell, cell.summary))
    yield from groups.items()


def _per_image(alternatives: Sequence[tuple[Cell, Summary]]) -> Iterator[tuple[int, float]]:
    """Batch and time per image (ns) of each cell; none under a load that says by itself when frames come."""
    for cell, summary in alternatives:
        if summary.throughput and summary.budget is None:
            yield int(cell.settings["batch"]), NS_PER_S / summary.throughput


def _medians(alternatives: Sequence[tuple[Cell, Summary]]) -> dict[int, float]:
    """The median of an inference (ns) by batch."""
    return {
        int(cell.settings["batch"]): stage.median
        for cell, summary in alternatives
        for stage in summary.frames.stages
        if stage.name == "infer"
    }


def _kernels(alternatives: Sequence[tuple[Cell, Summary]]) -> dict[int, float]:
    """Times of the kernels per image (ns) by batch, where the device reports them."""
    times = {int(cell.settings["batch"]): summary.frames.parts.get("compute", 0.0) for cell, summary in alternatives}
    return {batch: ns / batch for batch, ns in times.items() if ns}


def _sm_activity(alternatives: Sequence[tuple[Cell, Summary]], batch: int) -> float | None:
    """The share of the SMs that were busy in the cell of a batch, where a device reports it."""
    for cell, summary in alternatives:
        if int(cell.settings["batch"]) == batch and summary.devices:
            activity = summary.devices[0].medians.get("sm_activity")
            return None if activity is None else activity / 1000
    return None


def reasoned(done: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells; where only their strategy differs, each with the reason why it is faster or slower than the others."""
    return tuple(_with_reason(cell, done) for cell in done)


def _with_reason(cell: Cell, done: Sequence[Cell]) -> Cell:
    if cell.summary is None or "strategy" not in cell.settings:
        return cell
    others = _other_settings(cell, "strategy")
    like = next(group for _, group in by_kind(done) if cell in group)
    alternatives = [c for c in like if "strategy" in c.settings and _other_settings(c, "strategy") == others]
    summaries = {str(c.settings["strategy"]): c.summary for c in alternatives if c.summary is not None}
    if len(summaries) < 2:
        return cell
    return replace(cell, why=reasons(summaries).get(str(cell.settings["strategy"])))


def _other_settings(cell: Cell, name: str) -> dict[str, Any]:
    return {setting: value for setting, value in cell.settings.items() if setting != name}
