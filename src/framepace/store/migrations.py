"""What older files meant: functions from the raw contents of one format to the next one's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Raw = dict[str, Any]
_STRATEGIES = {"threads": "workers", "processes": "worker-processes"}


def plan_1_to_2(raw: Raw) -> Raw:
    """Workers were called 'threads' and 'processes', which are now what a frame's models have for their own."""
    raw, engine = {**raw, "format": "framepace.plan/2"}, raw.get("engine")
    if isinstance(engine, dict) and engine.get("strategy") in _STRATEGIES:
        raw["engine"] = {**engine, "strategy": _STRATEGIES[engine["strategy"]]}
    return raw


def trace_1_to_2(raw: Raw) -> Raw:
    """The plan in it was of format 1."""
    return {**raw, "format": "framepace.trace/2", "plan": plan_1_to_2(raw["plan"])}


PLANS: Mapping[str, Callable[[Raw], Raw]] = {"framepace.plan/1": plan_1_to_2}
