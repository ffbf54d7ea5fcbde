"""The order in which frames of several sources go into a batch. Pure: numbers in, numbers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def next_frames(
    waiting: Mapping[int, Sequence[int]], count: int, late: int, turns: Mapping[int, int], taken: int = 0
) -> list[tuple[int, int]]:
    """The next `count` frames at most, as (due, source): the oldest deadline first, each source in its own order.

    A frame due before `late` goes behind those that can still be on time, or one source that floods would make all
    others late; but each source has its turn once in as many frames as there are sources with frames.

    Args:
        waiting: due times (ns) of each source's frames, in its order, by its number; sources without frames may lack.
        turns: by source, how many frames had been taken in all when it had its last one; 0 for one that lacks.
        taken: how many were taken so far.
    """
    if all(not dues or dues[0] >= late for dues in waiting.values()):
        frames = [(due, source) for source, dues in waiting.items() for due in dues]
        return sorted(frames)[:count]
    return _next_frames_in_turns(waiting, count, late, dict(turns), taken)


def _next_frames_in_turns(
    waiting: Mapping[int, Sequence[int]], count: int, late: int, turns: dict[int, int], taken: int
) -> list[tuple[int, int]]:
    """`next_frames` when some source's next frame is late; updates `turns`."""
    heads = {source: 0 for source, dues in waiting.items() if dues}  # how many of a source's frames are in the order
    order: list[tuple[int, int]] = []

    def rank(source: int) -> tuple[bool, int]:
        due = waiting[source][heads[source]]
        may_wait = taken - turns.get(source, 0) < len(heads) - 1
        return due < late and may_wait, due

    while heads and len(order) < count:
        source = min(heads, key=rank)
        order.append((waiting[source][heads[source]], source))
        taken += 1
        turns[source] = taken
        heads[source] += 1
        if heads[source] == len(waiting[source]):
            del heads[source]
    return order
