"""The sentence at the end of a sweep: its best cell, from where on more brings little, and what limits that cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from framepace.facts.settings import text as settings_text
from framepace.facts.summary import Summary
from framepace.facts.sweep import Cell
from framepace.units import format_ms

_LITTLE = 0.05
_WORDS: Mapping[str, str] = {
    "backlog": "waiting for earlier frames",
    "queue": "waiting in the buffer",
    "wake-up": "waking up",
    "hand-over": "the hand-over between threads",
    "decode": "decoding",
    "prepare": "preparation",
    "infer": "the inference",
    "finish": "what follows the model",
}


def best_sentence(cells: Sequence[Cell], grid: Mapping[str, Sequence[str]]) -> str | None:
    """Which cell is best, the knee where one number varies, and what takes the most of a frame there.

    Best is the highest throughput where cells differ in it by 5 % or more, else the lowest latency, among those that
    met the budget if any did. None for fewer than two measured cells.
    """
    measured = [(cell, cell.summary) for cell in cells if cell.summary is not None and cell.summary.frames.requests]
    if len(measured) < 2:
        return None
    met = [pair for pair in measured if pair[1].met]
    candidates = met or measured
    by_rate = _spread([summary.throughput for _, summary in candidates]) >= _LITTLE
    best, summary = min(candidates, key=lambda pair: _cost(pair[1], by_rate))
    parts = [f"best: {settings_text(best.settings)} ({summary.throughput:.1f} frames/s, {_latency(summary)})"]
    knee = _knee(candidates, grid, by_rate)
    if knee:
        parts.append(knee)
    if not met and summary.budget is not None:
        parts.append(f"no cell is sure to meet {format_ms(summary.budget)}")
    parts.append(_limit(summary))
    return "; ".join(parts)


def _cost(summary: Summary, by_rate: bool) -> float:
    """What is to be low: the time per frame, or the latency."""
    if by_rate:
        return 1 / max(summary.throughput, 1e-9)
    return _level(summary)


def _level(summary: Summary) -> float:
    """p99 where there are samples for it, else the mean, ns."""
    answer = summary.frames.percentile(99)
    if answer is None or answer.estimate is None:
        return summary.frames.mean
    return answer.estimate.value


def _latency(summary: Summary) -> str:
    answer = summary.frames.percentile(99)
    if answer is None or answer.estimate is None:
        return f"mean {format_ms(summary.frames.mean)}"
    return f"p99 {format_ms(answer.estimate.value)}"


def _spread(values: Sequence[float]) -> float:
    return 1 - min(values) / max(max(values), 1e-9)


def _knee(pairs: Sequence[tuple[Cell, Summary]], grid: Mapping[str, Sequence[str]], by_rate: bool) -> str:
    """The smallest value of the one number that varies from which on the best is nearly reached."""
    varied = [name for name, values in grid.items() if len(values) > 1]
    if len(varied) != 1 or not all(_is_number(cell.settings.get(varied[0])) for cell, _ in pairs):
        return ""
    name = varied[0]
    costs = sorted((float(cell.settings[name]), _cost(summary, by_rate)) for cell, summary in pairs)
    least = min(cost for _, cost in costs)
    value = next(value for value, cost in costs if cost <= (1 + _LITTLE) * least)
    if value == costs[-1][0]:  # nothing more was measured
        return ""
    return f"{name}={value:g} is within 5 % of it, and more brings nothing"


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def _limit(summary: Summary) -> str:
    largest = max(summary.frames.stages, key=lambda stage: stage.mean)
    word = _WORDS.get(largest.name, largest.name)
    return f"there, {word} takes {largest.share:.0%} of the latency"
