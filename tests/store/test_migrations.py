"""Explanations of older versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from framepace.facts.finding import Explanation
from framepace.store import load_explanation, save_json
from tests.reporting.samples import explanation


def old(sample: Explanation, path: Path, metric: str) -> Path:
    """The file as it was before findings had a class and interventions a kind, about `metric`."""
    save_json(sample, path)
    raw: dict[str, Any] = json.loads(path.read_text())
    for finding in raw["findings"]:
        finding.pop("bottleneck", None)
        if finding.get("intervention"):
            finding["intervention"].pop("kind", None)
            finding["intervention"]["metric"] = metric
    path.write_text(json.dumps(raw))
    return path


@pytest.mark.parametrize(
    ("metric", "kind"),
    [
        ("latency", "latency"),
        ("kernels at the same clock", "latency"),
        ("CPU time a frame", "cpu"),
        ("time between frames", "throughput"),
        ("slowest 5 % of frames", "tail"),
        ("power", "power"),
    ],
)
def test_the_kind_of_a_metric_is_recovered_from_its_printed_name(tmp_path: Path, metric: str, kind: str) -> None:
    """Older files have the name only; the class of a cause is not in them."""
    loaded = load_explanation(old(explanation(), tmp_path / "explanation.json", metric))
    kinds = {f.intervention.kind for f in loaded.findings if f.intervention is not None}
    assert kinds == {kind}
    assert {finding.bottleneck for finding in loaded.findings} == {None}


def test_a_kind_that_is_stored_stays(tmp_path: Path) -> None:
    """The printed name is for people."""
    path = tmp_path / "explanation.json"
    before = explanation()
    save_json(before, path)
    assert load_explanation(path) == before
