"""Metrics: what Prometheus' own parser reads is what the run says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from msgspec.structs import replace
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from framepace.facts.running import EngineStatus, RunStatus
from framepace.watching.metrics import exposition, registry_of
from tests.doubles.cameras import SECRET, ScriptedRun

ROOT = Path(__file__).resolve().parents[2]


def samples(status: RunStatus, accept: str = "") -> dict[tuple[str, frozenset[str]], float]:
    """All samples by name and values of their labels, as a parser of Prometheus reads them."""
    text, media_type = exposition(registry_of(lambda: status), accept)
    parse = openmetrics if media_type.startswith("application/openmetrics") else plain
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in parse(text.decode())
        for sample in family.samples
    }


def of(*labels: str) -> frozenset[str]:
    """The values of the labels of a sample."""
    return frozenset(labels)


@pytest.mark.parametrize("accept", ["", "text/plain", "application/openmetrics-text; version=1.0.0"])
def test_a_parser_reads_what_the_run_says(accept: str) -> None:
    """Counters, gauges and states, in both formats."""
    status = ScriptedRun(3).step(2)
    found = samples(status, accept)
    lobby = status.sources[2]
    assert found["framepace_source_frames_taken_total", of("lobby")] == lobby.taken
    assert found["framepace_source_frames_dropped_total", of("lobby", "buffer full")] == lobby.dropped["buffer full"]
    assert found["framepace_source_state", of("yard", "lost")] == 1
    assert found["framepace_source_state", of("yard", "live")] == 0
    assert found["framepace_device_clock_hertz", of("H200")] == 1.98e9
    assert found["framepace_run_target_age_seconds", of()] == 0.2
    assert found["process_resident_memory_bytes", of()] > 0


def test_every_picture_is_in_one_counter() -> None:
    """Delivered, skipped, failed, waiting and dropped of a source add up to taken."""
    found = samples(ScriptedRun(3).step(5))
    parts = ("frames_delivered_total", "frames_skipped_total", "frames_failed_total", "frames_waiting")
    total = sum(found[f"framepace_source_{part}", of("lobby")] for part in parts)
    total += found["framepace_source_frames_dropped_total", of("lobby", "buffer full")]
    assert total == found["framepace_source_frames_taken_total", of("lobby")]


def test_every_box_is_in_one_counter() -> None:
    """Those that a model answered, failed on or left out, by source and model."""
    status = ScriptedRun(3).step(5)
    lobby = status.sources[2]
    found = samples(status)
    total = sum(
        found["framepace_source_boxes_total", of("lobby", "reader", outcome)]
        for outcome in ("answered", "failed", "left out")
    )
    assert total == lobby.boxes["reader"].found > 0


def test_the_histogram_of_ages_counts_every_result() -> None:
    """Buckets are cumulated, in seconds; the last one and the count are the results, the sum is theirs."""
    status = ScriptedRun(1).status()
    ages = status.sources[0].ages
    assert ages is not None
    found = samples(status)
    name = "framepace_source_age_seconds"
    assert found[f"{name}_bucket", of("gate", "0.02")] == 0
    assert found[f"{name}_bucket", of("gate", "0.033")] == sum(ages.counts)
    assert found[f"{name}_bucket", of("gate", "+Inf")] == found[f"{name}_count", of("gate")] == sum(ages.counts)
    assert found[f"{name}_sum", of("gate")] == ages.sum_ms / 1000


def test_what_is_not_known_is_left_out() -> None:
    """A host without a power meter has no power, instead of 0 W."""
    assert ("framepace_device_power_watts", of("host")) not in samples(ScriptedRun(1).status())


def test_no_metric_has_a_secret() -> None:
    """Not even where a source is named after its address."""
    run = ScriptedRun(1)
    run.names[0] = f"rtsp://admin:{SECRET}@10.0.0.1/stream"
    text, _ = exposition(registry_of(run.status), "")
    assert b"rtsp://***@10.0.0.1/stream" in text
    assert SECRET.encode() not in text


def metric_names() -> set[str]:
    """The names of all metrics, without the parts of a histogram."""
    engine = EngineStatus(name="host cuda:0", place="host: H200", state="live", sources=3, share=0.5)
    status = replace(ScriptedRun(3).step(3), engines=(engine,))
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name, _ in samples(status)}


def test_the_grafana_dashboard_asks_for_metrics_that_exist() -> None:
    """And for every one of ours that stands for a state of the run, but for its name, its beginning and its engines."""
    dashboard = json.loads((ROOT / "examples/grafana/framepace.json").read_text(encoding="utf-8"))
    queries = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    asked = {re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"\b(?:framepace|process)_\w+", queries)}
    assert asked - metric_names() == set()
    ours = {name for name in metric_names() if re.match("framepace_(?!engine_)", name)}
    assert ours - asked == {"framepace_run_info", "framepace_run_start_time_seconds"}


def test_the_guide_has_every_metric() -> None:
    """By its name, and none that does not exist."""
    guide = (ROOT / "docs/guides/watching.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(framepace_\w+)`", guide))
    assert named == {name for name in metric_names() if name.startswith("framepace_")}
