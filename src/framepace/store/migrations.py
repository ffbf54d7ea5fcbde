"""Older formats: functions from the decoded contents of one format to those of the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Raw = dict[str, Any]
_STRATEGIES = {"threads": "workers", "processes": "worker-processes"}
# By the first words of a metric's printed name.
_METRIC_KINDS = {"CPU": "cpu", "time between": "throughput", "slowest": "tail", "power": "power"}


def plan_1_to_2(raw: Raw) -> Raw:
    """'threads' and 'processes' named strategies of whole workers, which now run each model of a frame on its own."""
    migrated = {**raw, "format": "framepace.plan/2"}
    engine = raw.get("engine")
    if isinstance(engine, dict) and engine.get("strategy") in _STRATEGIES:
        migrated["engine"] = {**engine, "strategy": _STRATEGIES[engine["strategy"]]}
    return migrated


def trace_1_to_2(raw: Raw) -> Raw:
    """The plan inside was of format 1."""
    return {**raw, "format": "framepace.trace/2", "plan": plan_1_to_2(raw["plan"])}


PLANS: Mapping[str, Callable[[Raw], Raw]] = {"framepace.plan/1": plan_1_to_2}


def explanation_with_kinds(raw: Raw) -> Raw:
    """Interventions had no `kind`: what their metric measures is recovered from its printed name."""
    findings = raw.get("findings")
    if not isinstance(findings, list):  # damage, as everything below that is of another type: refused later
        return raw
    return {**raw, "findings": [_finding_with_kind(finding) for finding in findings]}


def _finding_with_kind(finding: Any) -> Any:
    intervention = finding.get("intervention") if isinstance(finding, dict) else None
    if not isinstance(intervention, dict) or "kind" in intervention:
        return finding
    metric = str(intervention.get("metric", ""))
    kind = next((kind for start, kind in _METRIC_KINDS.items() if metric.startswith(start)), "latency")
    return {**finding, "intervention": {**intervention, "kind": kind}}
