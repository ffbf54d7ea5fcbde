"""The view-models of what is asked of a precision: the hunt, the ranking, and the mended model, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from framepace.facts.accuracy import agreement_text
from framepace.facts.mending import Fault, Hunt, Hunted, Mended, NetworkNode, NodeError, Price, Ranking, ValueRange
from framepace.facts.questions import mend_question
from framepace.reporting.views.accuracy import frames_text
from framepace.reporting.views.text import plural
from framepace.values import shown

RANKED = 20  # nodes that are shown
_FINITE = 0.6  # of a full bar, for the largest error where others are not finite
_NAMED = 6  # of the nodes that a node was made from
_FAULTS: Mapping[Fault, str] = {
    "overflow": "a value is beyond the largest number of {precision}, {largest:,.6g}",
    "accumulation": "a sum is beyond the largest number of {precision}, {largest:,.6g}",
    "exp": "the exponential is beyond the largest number of {precision}, {largest:,.6g}",
    "underflow": "values become zero in {precision}, and are divided by",
    "division": "it divides by zero",
    "log": "values become zero in {precision}, and their logarithm is taken",
    "invalid": "it computes what has no value (infinity minus infinity, zero times infinity)",
}

_GOES_ON = "the same command goes on where this one was stopped"
_TRAINING = (
    "INT8 needs training with quantisation here, or other ranges (--methods percentile,minmax,entropy compares them), "
    "or a measure that allows more (--metric, --least)"
)
_INSIDE = ", though what comes of it is not"  # a mean, or the root of a sum of squares
_WIDER_SUMS = "a library that adds up in FP32 (ONNX Runtime on CUDA) does not overflow here: check it where it will run"


@dataclass(frozen=True)
class MendingView:
    """An answer in words: a sentence, whether it is good news, lines of facts, a table, what to do, notes."""

    sentence: str
    passed: bool
    lines: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    lengths: tuple[float, ...] = ()  # 0 to 1, of the bar of each row
    todo: str = ""  # a command
    notes: tuple[str, ...] = ()


def hunt_view(hunt: Hunt) -> MendingView:
    """Which node makes the first NaN or infinity, and why."""
    at_output = any(fault.at_output for fault in hunt.faults)
    return MendingView(
        sentence=_hunt_sentence(hunt),
        passed=not at_output,
        lines=tuple(line for fault in hunt.faults[:1] for line in _fault_lines(hunt, fault)),
        columns=("node", "operator", "fault", "shows in"),
        rows=tuple(_fault_row(fault) for fault in hunt.faults[1:]),
        todo=mend_question(hunt.model, hunt.videos, hunt.frames) if hunt.faults else "",
        notes=hunt.notes,
    )


def _hunt_sentence(hunt: Hunt) -> str:
    where = f"on {frames_text(hunt, hunt.frames)}"
    model = f"{shown(hunt.model.model)} in {hunt.model.precision}"
    if not hunt.faults:
        return f"no NaN and no infinity in {model}, in {plural(hunt.nodes, 'node')} {where}"
    first = hunt.faults[0]
    if first.at_output:
        return f"{node_name(first.node)} makes the first NaN or infinity in {model}, on frame {first.frame}"
    return f"{node_name(first.node)} makes an infinity in {model}, on frame {first.frame}; no output is infinite or NaN"


def _fault_lines(hunt: Hunt, fault: Hunted) -> Iterator[str]:
    reason = _FAULTS[fault.fault].format(precision=hunt.model.precision, largest=hunt.largest)
    inside = fault.fault == "accumulation" and max(-fault.made.lowest, fault.made.highest) <= hunt.largest
    yield f"why: {reason}{_INSIDE * inside}"
    if fault.shows != fault.node:
        yield f"shows in: {node_name(fault.shows)} ({fault.shows.operator})"
    for values in fault.read:
        yield f"reads {_range(values)}"
    yield f"makes {_range(fault.made)}"
    if fault.sum is not None:
        yield f"its sum goes up to {fault.sum:,.3g}"
    if inside:
        yield _WIDER_SUMS


def _range(values: ValueRange) -> str:
    text = f"{values.tensor}: {values.lowest:.3g} to {values.highest:.3g} in fp32"
    if values.nonfinite:
        text += f"; {plural(values.nonfinite, 'value')} not finite"
    if values.zeros:
        text += f"; {plural(values.zeros, 'zero')}"
    return text


def _fault_row(fault: Hunted) -> tuple[str, ...]:
    shows = "" if fault.shows == fault.node else node_name(fault.shows)
    return node_name(fault.node), fault.node.operator, fault.fault, shows


def ranking_view(ranking: Ranking, count: int | None = RANKED) -> MendingView:
    """The nodes that cost most, the worst first, with a bar each."""
    tried = [row for row in ranking.nodes if row.error is not None or not row.finite][:count]
    return MendingView(
        sentence=_ranking_sentence(ranking),
        passed=_holds(ranking),
        lines=tuple(_ranking_lines(ranking, len(tried))),
        columns=("node", "operator", "error", "largest"),
        rows=tuple(map(_ranked, tried)),
        lengths=_lengths(tried),
        todo="" if _holds(ranking) else mend_question(ranking.model, ranking.videos),
        notes=ranking.notes,
    )


def _lengths(rows: Sequence[NodeError]) -> tuple[float, ...]:
    """Of the bars: full ones are not finite, and an error is shorter than those, however large it is."""
    largest = max((row.error or 0.0 for row in rows), default=0.0) or 1.0
    full = _FINITE if any(row.error is None for row in rows) else 1.0
    return tuple(1.0 if row.error is None else full * row.error / largest for row in rows)


def _holds(ranking: Ranking) -> bool:
    return ranking.error is not None and (ranking.limit is None or ranking.error <= ranking.limit)


def _ranking_sentence(ranking: Ranking) -> str:
    error = "an output that is not finite"
    if ranking.error is not None:
        error = f"an error of {ranking.error:.2g}"
    limit = ""
    if ranking.limit is not None:
        limit = f" (the gate allows {ranking.limit:g})"
    where = frames_text(ranking, ranking.frames)
    return f"{shown(ranking.model.model)} in {ranking.model.precision} has {error}{limit}, on {where}"


def _ranking_lines(ranking: Ranking, tried: int) -> Iterator[str]:
    if tried:
        yield f"the error of the outputs with one node alone in {ranking.model.precision}, the worst {tried} first"
    untried = sum(row.error is None and row.finite for row in ranking.nodes)
    if not ranking.complete:
        yield f"stopped before all was tried ({plural(untried, 'node')} not): the same command goes on"
    elif untried:
        verb = "lies" if untried == 1 else "lie"
        yield f"{plural(untried, 'node')} {verb} in blocks that cost less than a tenth of what the gate allows"


def _ranked(row: NodeError) -> tuple[str, ...]:
    error = "not finite" if row.error is None else f"{row.error:.2g}"
    reach = "" if row.reach is None else f"{row.reach:.3g}"
    return node_name(row.node), row.node.operator, error, reach


def mended_view(mended: Mended) -> MendingView:
    """Which nodes stay in FP32, how far the outputs agree with them, and what they cost."""
    return MendingView(
        sentence=_mended_sentence(mended),
        passed=mended.holds and not mended.found_nothing,
        lines=tuple(_mended_lines(mended)),
        columns=("stays in FP32", "operator", "island"),
        rows=tuple(_kept_rows(mended)),
        notes=(*_plan_setting(mended), *mended.notes),
    )


def _mended_sentence(mended: Mended) -> str:
    model = f"{shown(mended.model.model)} in {mended.model.precision}"
    if mended.as_run is not None and not mended.as_run.passed:
        kept = f"{len(mended.kept)} of {plural(mended.nodes, 'node')} in FP32"
        return f"{model} does not pass the gate as {mended.model.backend} runs it, with {kept}"
    if mended.unjudged:
        return f"{model} cannot be judged on these frames"
    if mended.refused:
        return _refusal(mended, model)
    if not mended.kept:
        return f"{model} passes the gate as it is: no node has to stay in FP32"
    if mended.found_nothing:
        return f"{model} does not pass the gate; stopped before a set of nodes was found with which it does"
    kept = f"{len(mended.kept)} of {plural(mended.nodes, 'node')} in FP32"
    if not mended.holds:
        return f"{model} does not pass the gate on frames that the search has not seen, with {kept}"
    return f"{model} passes the gate with {kept}"


def _refusal(mended: Mended, model: str) -> str:
    """That no set of nodes was found, and how many were not enough."""
    kept = f"{len(mended.kept)} of {plural(mended.nodes, 'node')} in FP32"
    if mended.out_of_time:
        return f"{model} was not mended within the time limit: it does not pass the gate with {kept}"
    return f"{model} cannot be mended: it does not pass the gate with {kept}, those that cost most"


def _mended_lines(mended: Mended) -> Iterator[str]:
    yield f"before: {agreement_text(mended.before)}"
    if not mended.before.passed:
        yield from (f"  {reason}" for reason in mended.before.why)
    if mended.refused:
        yield from _refused_lines(mended)
        return
    if mended.found_nothing:
        yield _GOES_ON
        return
    if mended.kept:
        yield f"mended: {agreement_text(mended.searched)}"
    if mended.held_out is not None and mended.kept:
        yield f"on frames that were held out: {agreement_text(mended.held_out)}"
        yield from (f"  {reason}" for reason in mended.held_out.why)
    elif mended.held_out is None and mended.complete:
        yield "no frame was held out: give two frames or more (--frames)"
    if mended.as_run is not None:
        yield f"as {mended.model.backend} runs it, on all frames: {agreement_text(mended.as_run)}"
        yield from (f"  {reason}" for reason in mended.as_run.why)
    if not mended.holds:
        yield from _advice(mended)
    if not (mended.complete or mended.minimal):
        yield _early_end(mended)
    yield from _price_lines(mended.prices)


def _early_end(mended: Mended) -> str:
    """That the search was not over; fewer nodes may do where the gate holds."""
    why = "the time limit came before the end" if mended.out_of_time else "stopped before the end"
    fewer = "fewer nodes may do; " if mended.holds else ""
    return f"{why}: {fewer}{_GOES_ON}"


def _refused_lines(mended: Mended) -> Iterator[str]:
    """How far the largest set that was tried gets, and what is left to do."""
    if mended.kept:
        yield f"with them: {agreement_text(mended.searched)}"
        yield from (f"  {reason}" for reason in mended.searched.why)
    if mended.out_of_time:
        yield _GOES_ON
    yield from _advice(mended)


def _advice(mended: Mended) -> Iterator[str]:
    """What is left where no nodes in FP32 help."""
    if mended.model.precision == "int8":
        yield _TRAINING


def _kept_rows(mended: Mended) -> Iterator[tuple[str, ...]]:
    if mended.found_nothing:
        return
    islands = {name: str(number) for number, names in enumerate(mended.islands, 1) for name in names}
    for node in mended.kept:
        yield node_name(node), node.operator, islands.get(node.name, "")


def _price_lines(prices: Sequence[Price]) -> Iterator[str]:
    """The time of each way, and what each island costs: the difference to the mixed model without it."""
    ways = {price.name: price.p50_ms for price in prices if not price.island}
    if not ways:
        return
    times = ", ".join(f"{name} {ms:.3g} ms" for name, ms in ways.items())
    yield f"per frame, measured in turn: {times}"
    if ways["mixed"] >= ways["fp32"]:
        yield "the mixed model is no faster than fp32 here: on this device it brings nothing"
    for price in prices:
        if price.island:
            yield f"  {ways['mixed'] - price.p50_ms:+.2g} ms for what stays in FP32 around {_island(price.island)}"


def _island(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    return f"{names[0]} and {len(names) - 1} more"


def _plan_setting(mended: Mended) -> Iterator[str]:
    if mended.kept and mended.holds and not mended.found_nothing:
        yield f"as a plan: precision {mended.model.precision} and the setting fp32-nodes (--json has both)"


def node_name(node: NetworkNode) -> str:
    """A node by its name in the file, or by what it was made from."""
    if not node.made_from:
        return node.name
    names = ", ".join(node.made_from[:_NAMED])
    if len(node.made_from) > _NAMED:
        names += f" and {len(node.made_from) - _NAMED} more"
    return f"{node.name} (made from {names})"
