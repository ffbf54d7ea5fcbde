"""What the causes that live in the gap between frames share."""

from __future__ import annotations

from framepace.explaining.situation import Situation


def beat(known: Situation) -> float:
    """A heartbeat in ms: a few inferences long, so that the last one before a frame is recent and rarely in its way."""
    return round(max(2 * known.infer("gapless"), (known.period or 0) / 8) / 1e6, 2)


def dense_beat(known: Situation) -> float:
    """A heartbeat in ms that fills four fifths of the gap: a clock that follows the load must see a load."""
    return round(max(0.1, 0.25 * known.infer("gapless") / 1e6), 2)


def room_for_beats(known: Situation) -> bool:
    """Whether the gap holds another inference at all."""
    alone = known.infer("gapless")
    return known.period is not None and known.period - alone > 2 * alone
