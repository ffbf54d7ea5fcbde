"""Where the nodes of a graph are drawn: a row per step, what is read below what writes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Place = tuple[float, int]  # column (may be a half) and row


def places(count: int, edges: Iterable[tuple[int, int]]) -> list[Place]:
    """Column and row of each of `count` nodes whose `edges` go from lower to higher numbers.

    A node is one row below the lowest of those that it reads. Within a row nodes stand in the order of the columns
    that they read from, and the row is centred on column 0.
    """
    writers: dict[int, list[int]] = {}
    for writer, reader in edges:
        writers.setdefault(reader, []).append(writer)
    rows: list[int] = []
    for node in range(count):
        rows.append(max((rows[writer] + 1 for writer in writers.get(node, ())), default=0))
    columns = _columns(_by_row(rows), writers)
    return [(columns[node], rows[node]) for node in range(count)]


def _columns(members_of_rows: Iterable[Iterable[int]], writers: dict[int, list[int]]) -> dict[int, float]:
    columns: dict[int, float] = {}
    for members in members_of_rows:
        ordered = sorted(members, key=lambda node: (_middle(writers.get(node, ()), columns), node))
        first = -(len(ordered) - 1) / 2
        columns |= {node: first + step for step, node in enumerate(ordered)}
    return columns


def _by_row(rows: Sequence[int]) -> list[list[int]]:
    members: list[list[int]] = [[] for _ in range(max(rows, default=-1) + 1)]
    for node, row in enumerate(rows):
        members[row].append(node)
    return members


def _middle(writers: Sequence[int], columns: dict[int, float]) -> float:
    """The mean column of what a node reads."""
    if not writers:
        return 0.0
    return sum(columns[writer] for writer in writers) / len(writers)
