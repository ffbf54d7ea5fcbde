"""The account of late frames in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from framepace.facts.late import NOT_LOGGED, WAITING, Growth, LateFrames, Receipt
from framepace.reporting.views.text import optional, share
from framepace.units import format_ms, ordinal

RECEIPT_COLUMNS = ("frame", "camera", "latency", "most in", "more than usual", "at the same time", "waited for frame")
_MOST_RECEIPTS = 10
_ALL = 0.9  # of what late frames take more, in one stage


def late_sentences(late: LateFrames | None) -> tuple[str, ...]:
    """What late frames take more and where, in which pattern, and what coincides; nothing without an account."""
    if late is None:
        return ()
    return tuple(_sentences(late))


def receipts_title(receipts: Sequence[Receipt]) -> str:
    """'the 10 slowest of 111 late frames': what `receipt_rows` shows."""
    shown = len(receipt_rows(receipts))
    return f"the {shown} slowest of {len(receipts):,} late or lost frames (all of them: explanation.json)"


def receipt_rows(receipts: Sequence[Receipt]) -> tuple[tuple[str, ...], ...]:
    """What the slowest delivered frames were late for, slowest first, in `RECEIPT_COLUMNS`."""
    delivered = sorted((receipt for receipt in receipts if receipt.late), key=lambda receipt: -receipt.late)
    return tuple(map(_receipt_row, delivered[:_MOST_RECEIPTS]))


def _receipt_row(receipt: Receipt) -> tuple[str, ...]:
    return (
        f"{receipt.frame}",
        f"{receipt.source}",
        format_ms(receipt.late),
        receipt.stage,
        format_ms(receipt.more),
        receipt.cause,
        optional(receipt.waited_for, str),
    )


def _sentences(late: LateFrames) -> Iterator[str]:
    yield f"{share(late.share)} of the frames ({late.chosen}) take {format_ms(late.more)} more: {_where(late)}"
    if late.working and late.stages[0].stage in WAITING:
        yield f"they wait behind frames that take longer in {late.working[0].stage}"
    yield _rhythm(late)
    if late.working and late.slow_every and not late.every:
        yield f"every {ordinal(late.slow_every)} frame takes longer in {late.working[0].stage}"
    if late.coincides:
        yield f"at the same time: {_counts(late.coincides)}"
    if late.sources:
        yield f"by camera: {_counts(late.sources)}"


def _where(late: LateFrames) -> str:
    if not late.stages:
        return "no stage stands out"
    first = late.stages[0]
    if [growth.stage for growth in late.stages] == [NOT_LOGGED]:
        return "the log does not say in which stage"
    if first.share >= _ALL:
        return f"all of it in {first.stage}"
    return ", ".join(_growth(growth) for growth in late.stages)


def _growth(growth: Growth) -> str:
    return f"{growth.stage} +{format_ms(growth.more)} ({share(growth.share)})"


def _rhythm(late: LateFrames) -> str:
    if late.pattern == "every nth frame":
        return f"it is every {ordinal(late.every)} frame"
    if late.pattern == "bursts":
        where = f", which begin at every {ordinal(late.every)} frame" if late.every else ""
        return f"they come in bursts of {late.burst:.1f} frames on average{where}"
    return "they come one by one" + ("" if late.slow_every else ", without a pattern")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
