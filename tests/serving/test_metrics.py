"""Metrics of a server, and the dashboard that asks for them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families as parsed

from tests.serving.servers import add_model, ask, pair, served

ROOT = Path(__file__).resolve().parents[2]
_METRIC = r"\b(?:framepace|process|nv)_\w+"
_PART = r"_(bucket|count|sum)$"


def dashboard() -> list[tuple[str, str]]:
    """The title of each panel, and what it asks for."""
    document = json.loads((ROOT / "examples/grafana/framepace-serve.json").read_text(encoding="utf-8"))
    return [(panel["title"], target["expr"]) for panel in document["panels"] for target in panel["targets"]]


def test_the_grafana_dashboard_asks_for_metrics_and_labels_that_exist(tmp_path: Path) -> None:
    """And for every metric that there is."""
    with served(add_model(tmp_path)) as server:
        assert ask(server, "POST", "/v2/models/simple/infer", pair())[0] == 200
        assert ask(server, "POST", "/v2/models/simple/infer", {"inputs": []})[0] == 400
        text = ask(server, "GET", "/metrics")[1].decode()
    names = set(re.findall(rf"^{_METRIC}", text, re.MULTILINE))
    labels = {label for family in parsed(text) for sample in family.samples for label in sample.labels}
    asked = {name for _, query in dashboard() for name in re.findall(_METRIC, query)}
    assert asked - names == set()
    assert {re.sub(_PART, "", name) for name in names} - {re.sub(_PART, "", name) for name in asked} == set()
    for title, query in dashboard():
        used = re.findall(r"[{,](\w+)=", query)
        grouped = re.findall(r"by \(([\w, ]+)\)", query)
        used += [label for group in grouped for label in group.split(", ")]
        assert set(used) <= labels, title


def test_every_query_is_closed_where_it_opens() -> None:
    """Brackets match in every query, and no panel has none."""
    pairs = {"(": ")", "[": "]", "{": "}"}
    for title, query in dashboard():
        stack = []
        for letter in query:
            if letter in pairs:
                stack.append(pairs[letter])
            elif letter in pairs.values():
                assert stack.pop() == letter, title
        assert query
        assert not stack, title
