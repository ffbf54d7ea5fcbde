"""Which nodes of a network read what which others make, through nodes that only move values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from framepace.models.convert.kept import MOVERS


def readers_of(graph: Any) -> Mapping[str, list[Any]]:
    """The nodes that read each tensor, by its name."""
    readers: dict[str, list[Any]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    return readers


def followers(graph: Any) -> Mapping[str, frozenset[str]]:
    """For each node the names of those that read what it makes, directly or through nodes that only move values."""
    readers = readers_of(graph)
    after: dict[str, frozenset[str]] = {}
    for node in reversed(graph.node):
        names: set[str] = set()
        for reader in (reader for output in node.output for reader in readers[output]):
            names.add(reader.name)
            if reader.op_type in MOVERS:
                names |= after.get(reader.name, frozenset())
        after[node.name] = frozenset(names)
    return after
