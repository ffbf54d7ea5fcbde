"""Spans: they are the stages of the trace, of a fair share of the frames, and arrive at a collector."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from framepace import deploying
from framepace.errors import UsageError
from framepace.facts.trace import REQUEST_COLUMNS, TraceMeta
from framepace.watching.spans import SampledRows, Spans, frame_spans, tracing

COLUMNS = tuple(REQUEST_COLUMNS)
WIDTH = len(COLUMNS)


def table(frames: int, models: int = 1) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Rows of which only the frame and the model are set."""
    rows = np.zeros((frames * models, WIDTH), np.int64)
    rows[:, 0] = np.repeat(np.arange(frames), models)
    rows[:, COLUMNS.index("model")] = np.tile(np.arange(models), frames)
    return rows


@pytest.fixture(scope="module")
def recorded() -> tuple[bytes, TraceMeta]:
    """The packed rows of a short run of two models on two sources, and what is known of it."""
    taken: list[tuple[bytes, TraceMeta]] = []
    models = ["builtin:detector", "builtin:classifier"]
    run = deploying.start(models, ["a=synthetic", "b=synthetic"], settings={"backend": "null"})
    run.follow_rows(lambda rows, meta: taken.append((rows, meta)))
    run.wait()
    return b"".join(rows for rows, _ in taken), taken[-1][1]


def test_the_stages_of_a_frame_fill_its_span(recorded: tuple[bytes, TraceMeta]) -> None:
    """Each begins where the one before ended or, of another model, later; the last one ends with the frame."""
    packed, meta = recorded
    spans = [span for span in frame_spans(SampledRows(1.0, 2).add(packed), meta) if span.outcome == "ok"]
    assert {span.source for span in spans} == {"a", "b"}
    for span in spans:
        assert span.stages[0].start == span.start
        assert max(stage.end for stage in span.stages) == span.end
        assert all(stage.start < stage.end for stage in span.stages)
        assert {stage.model for stage in span.stages if stage.name == "infer"} == {"detector", "classifier"}
        before_models = [stage for stage in span.stages if not stage.model]
        assert [stage.end for stage in before_models][:-1] == [stage.start for stage in before_models][1:]


def test_every_frame_of_a_run_has_one_span(recorded: tuple[bytes, TraceMeta]) -> None:
    """With a share of 1, however the rows are cut on their way."""
    packed, meta = recorded
    sampled = SampledRows(1.0, 2)
    size = WIDTH * 8
    parts = [packed[at : at + 7 * size] for at in range(0, len(packed), 7 * size)]
    frames = [span.frame for part in parts if len(rows := sampled.add(part)) for span in frame_spans(rows, meta)]
    assert len(frames) == len(set(frames)) == len(packed) // size // 2


@pytest.mark.parametrize("cameras", [2, 4, 10, 100])
def test_a_share_is_fair_to_all_cameras(cameras: int) -> None:
    """A tenth of the frames of each, although their numbers take turns."""
    rows = SampledRows(0.1, 1).add(table(100 * cameras).tobytes())
    per_camera = Counter(int(frame) % cameras for frame in rows[:, 0])
    assert len(rows) == pytest.approx(10 * cameras, rel=0.1)
    assert min(per_camera[camera] for camera in range(cameras)) >= 6


def test_a_frame_waits_for_its_last_model() -> None:
    """Rows that come apart are put together; what never comes is not kept for ever."""
    sampled = SampledRows(1.0, 2)
    rows = table(30_000, models=2)
    first, second = rows[::2], rows[1::2]
    assert len(sampled.add(first[-5:].tobytes())) == 0
    assert len(sampled.add(second[-5:].tobytes())) == 10
    sampled.add(first.tobytes())
    assert len(sampled.add(second.tobytes())) == 2 * 10_000


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """An OTLP collector over HTTP: its address, and what was sent to it."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Take a body."""
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", bodies
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_collector_gets_the_spans(recorded: tuple[bytes, TraceMeta], monkeypatch: pytest.MonkeyPatch) -> None:
    """By OTLP, as its own messages decode it: one parent per frame with its children, in wall time, of the service."""
    service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    packed, meta = recorded
    with collector() as (url, bodies):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        with tracing() as tracer:
            Spans(tracer, 1.0, 2).take(packed, meta)
    resources = [r for body in bodies for r in service.ExportTraceServiceRequest.FromString(body).resource_spans]
    spans = [span for resource in resources for scope in resource.scope_spans for span in scope.spans]
    names = {item.key: item.value.string_value for item in resources[0].resource.attributes}
    frames = {span.span_id: span for span in spans if span.name == "frame"}
    children = [span for span in spans if span.name != "frame"]
    assert names["service.name"] == "framepace"
    assert len(frames) == len(packed) // WIDTH // 8 // 2
    for child in children:
        parent = frames[child.parent_span_id]
        assert child.trace_id == parent.trace_id
        assert parent.start_time_unix_nano <= child.start_time_unix_nano
        assert child.end_time_unix_nano <= parent.end_time_unix_nano
    inferred = [span for span in frames.values() if not span.status.code]
    assert Counter(child.name for child in children)["infer"] == 2 * len(inferred) > 0


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.resources", None)
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(UsageError, match=r"framepace\[otel\]"), tracing():
        pass
