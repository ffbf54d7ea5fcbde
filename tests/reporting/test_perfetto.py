"""The file for Perfetto: Chrome's trace events, as strict as its readers want them."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framepace import StoreError, report
from framepace.facts.plan import Batching
from framepace.facts.trace import Outcome, Trace
from framepace.facts.workload import Closed
from framepace.reporting.perfetto import perfetto_json
from tests.doubles.simulation import ONE_MS, run
from tests.reporting import samples
from tests.reporting.samples import HOSTILE
from tests.reporting.traceevents import REQUIRED, problems


def events(trace: Trace) -> list[dict[str, Any]]:
    """The events of the file."""
    found: list[dict[str, Any]] = json.loads("".join(perfetto_json(trace)))["traceEvents"]
    return found


def test_complete_events_of_a_thread_do_not_overlap_and_every_thread_has_a_name() -> None:
    """Perfetto draws neither overlapping spans nor threads in an order of its own as they are meant."""
    made = events(run(ONE_MS, Closed(), count=60, workers=3, fields={"slots": 3}))
    named = {(event["pid"], event["tid"]) for event in made if event["name"] == "thread_name"}
    threads: dict[Any, list[tuple[float, float]]] = defaultdict(list)
    for event in made:
        if event["ph"] == "X":
            threads[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    assert set(threads) <= named
    for spans in threads.values():
        spans.sort()
        assert all(after[0] >= before[1] - 1e-3 for before, after in pairwise(spans))
    assert min(event["ts"] for event in made if "ts" in event) >= 0


def test_flows_lead_from_span_to_span_of_a_frame() -> None:
    """Each begins once and ends once, later, and each step lies at the start of a span."""
    made = events(samples.trace(40))
    starts = {(event["pid"], event["tid"], event["ts"]) for event in made if event["ph"] == "X"}
    flows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for event in made:
        if event["ph"] in "stf" and event["name"] == "frame":
            flows[event["id"]].append(event)
    assert len(flows) == 40
    for steps in flows.values():
        assert [step["ph"] for step in steps] == ["s", *["t"] * (len(steps) - 2), "f"]
        assert all((step["pid"], step["tid"], step["ts"]) in starts for step in steps)


def test_clocks_power_and_queues_are_counters_and_frames_last_until_they_are_delivered() -> None:
    """From telemetry and from the stamps of buffers."""
    trace = samples.trace(30)
    made = events(trace)
    counters = {event["name"] for event in made if event["ph"] == "C"}
    assert "frames in buffers" in counters
    assert any("clock" in name for name in counters)
    begun = [event for event in made if event["ph"] == "b"]
    ended = {event["id"]: event["ts"] for event in made if event["ph"] == "e"}
    took = [(ended[event["id"]] - event["ts"]) * 1000 for event in begun]
    assert took == pytest.approx(trace.latency.tolist(), abs=1)


def batches() -> Trace:
    """Batches of up to four on two workers."""
    return run(ONE_MS, Closed(concurrency=12), count=60, workers=2, fields={"batch": Batching(max=4)})


def dropped() -> Trace:
    """A live camera of which every third frame was dropped before it was decoded."""
    trace = samples.trace(30)
    out = np.arange(len(trace)) % 3 == 0
    for name in ("decoded", "queued", "batched", "started", "enqueued", "finished", "batch_id"):
        trace.requests[name][out] = -1
    trace.requests["outcome"][out] = Outcome.DROPPED
    return trace


@pytest.mark.parametrize("make", [batches, dropped, lambda: run(ONE_MS, Closed(), count=30, fields={"slots": 3})])
def test_the_file_is_valid_for_the_format_of_chrome(make: Callable[[], Trace]) -> None:
    """Required keys per kind of event, whole flows, asynchronous events that end: batches, drops, several in flight."""
    document = json.loads("".join(perfetto_json(make())))
    assert problems(document) == []
    assert {"M", "X", "b", "e"} <= {event["ph"] for event in document["traceEvents"]}


@pytest.mark.parametrize("phase", sorted(REQUIRED))
def test_the_validator_misses_no_key(phase: str) -> None:
    """An event without one of its keys is found, and so are a time that is none and half a flow."""
    document = json.loads("".join(perfetto_json(samples.trace(5))))
    number, event = next((n, e) for n, e in enumerate(document["traceEvents"]) if e["ph"] == phase)
    for key in REQUIRED[phase]:
        broken = {name: value for name, value in event.items() if name != key}
        changed = [*document["traceEvents"][:number], broken, *document["traceEvents"][number + 1 :]]
        assert problems({"traceEvents": changed})
    if phase in "besf":
        assert problems({"traceEvents": [e for e in document["traceEvents"] if e is not event]})
    if "ts" in event:
        assert problems({"traceEvents": [{**event, "ts": float("nan")}]})


def test_names_from_outside_are_text_and_damage_is_no_traceback() -> None:
    """A model with a hostile name; rows of a model that the subject does not have; nothing at all."""
    assert any(event.get("args", {}).get("model") == HOSTILE for event in events(samples.trace(5, (HOSTILE,))))
    damaged = samples.trace(5)
    damaged.requests["model"][:] = 7
    assert events(damaged)
    empty = samples.trace(5)
    assert events(empty.where(empty.requests["due"] < 0))


def test_report_writes_it_beside_the_page_and_packs_it(tmp_path: Path) -> None:
    """A file of somebody else's is not replaced, one of ours is."""
    traces = [samples.trace(10)]
    for name in ("line.json", "line.json.gz"):
        path = tmp_path / name
        path.write_text("mine")
        with pytest.raises(StoreError, match="another file"):
            report(traces, out=tmp_path / "r.html", perfetto=path)
        path.unlink()
        for _ in range(2):
            report(traces, out=tmp_path / "r.html", perfetto=path)
    plain = (tmp_path / "line.json").read_bytes()
    assert gzip.decompress((tmp_path / "line.json.gz").read_bytes()) == plain
