"""The answer of an explanation in a line per cause: what it is, what its trial showed, and what the remedy brought."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from framepace.facts import settings
from framepace.facts.finding import Finding, Intervention, TriedRemedy
from framepace.reporting.views.finding import OF_KIND, metric_name
from framepace.reporting.views.text import optional
from framepace.reporting.views.tried import tried_line
from framepace.units import format_quantity

_EXCEEDS = "FP102"
_MOST = 3  # causes, so that the answer stays within the first ten lines of a terminal


def answer_lines(confirmed: Sequence[Finding], remedies: Sequence[TriedRemedy] = ()) -> tuple[str, ...]:
    """'FP001 the device's clocks fall between frames: 10.1 ms, 3.96 ms with heartbeat-ms=1.14; ...', worst first.

    That the model alone exceeds the budget stands before them, for it says what they can bring at best. Then what the
    `remedies` of a model brought that takes the time itself.
    """
    ordered = sorted(confirmed, key=lambda finding: finding.code != _EXCEEDS)
    lines = [_line(finding) for finding in ordered[:_MOST]]
    if len(confirmed) > _MOST:
        lines.append(f"and {len(confirmed) - _MOST} more below")
    if remedies:
        lines.append(tried_line(remedies))
    return tuple(lines)


def _line(finding: Finding) -> str:
    proof = optional(finding.intervention, _trial) or finding.summary
    return "; ".join((f"{finding.code} {finding.title}: {proof}", *_saved(finding)))


def _trial(trial: Intervention) -> str:
    before, after = (format_quantity(side.value, trial.unit) for side in (trial.before, trial.after))
    of_what = "" if trial.kind == "latency" else f"{metric_name(trial)} "
    return f"{of_what}{before}, {after} with {settings.text(trial.changed)}"


def _saved(finding: Finding) -> Iterator[str]:
    """What the remedy brought in the whole stream, where that was measured and is a gain."""
    gain = finding.gain
    if gain is None or finding.intervention is None or gain.verified is None:
        return
    surely = gain.verified if gain.interval is None else gain.interval[0]
    if surely > 0:
        yield f"saves {format_quantity(gain.verified, gain.unit)} {OF_KIND[finding.intervention.kind]}, verified"
