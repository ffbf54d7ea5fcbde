"""What servers counted during the measured part of a run."""

from __future__ import annotations

from framepace.backends.base import get_backend
from framepace.facts.plan import Plan
from framepace.facts.served import ServerCounts

Counts = dict[str, ServerCounts]


class ServerCounting:
    """The servers' counts, from the first look after the warm-up on; nothing for models that no server runs."""

    def __init__(self, plan: Plan) -> None:
        self._models = [model for model in plan.models if get_backend(model.backend).remote]
        self._before: Counts | None = None

    def look(self, warming: bool) -> None:
        """Note where the counts begin, once."""
        if self._models and not warming and self._before is None:
            self._before = self._now()

    def counted(self) -> Counts:
        """What was added since they began, by the names of the models."""
        before = self._before
        if not before:
            return {}
        return {name: counts.since(before[name]) for name, counts in self._now().items() if name in before}

    def _now(self) -> Counts:
        asked = {model.name: get_backend(model.backend).counts(model) for model in self._models}
        return {name: counts for name, counts in asked.items() if counts is not None}
