"""Decoding in the worker is suspected where it takes a good part of the time between frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from framepace import api
from framepace.analyze.summary import summarize
from framepace.clock.virtual import VirtualClock
from framepace.explaining.causes.decode_inline import DecodeInline
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe
from framepace.explaining.metrics import INTERVAL
from framepace.explaining.trial import Blocks
from framepace.facts.workload import Closed
from framepace.testing import make_trace
from tests.explaining.timedlab import TimedLab

MS = 1_000_000


def evidence(decode_ms: float, settings: dict[str, Any], **load: Any) -> Evidence:
    """A stream of 10 ms per frame, of which decoding takes `decode_ms`."""
    case = api.make_case("null", settings=settings, **load)
    trace = make_trace(np.full(100, 10 * MS), stages={"decode": round(decode_ms * MS)}, plan=case.plan)
    return Evidence(case, {"stream": trace}, {"stream": summarize(trace)}, 2)


CLOSED = {"load": Closed(concurrency=1), "fps": None}


@pytest.mark.parametrize(
    ("decode_ms", "decode", "load", "there"),
    [
        (5.0, "inline", CLOSED, True),
        (1.0, "inline", CLOSED, False),
        (5.0, "thread", CLOSED, False),
        (5.0, "inline", {"fps": 30}, False),
    ],
)
def test_when_decoding_in_the_worker_is_suspected(
    decode_ms: float, decode: str, load: dict[str, Any], there: bool
) -> None:
    """Half of the time of frames wanted as fast as possible; not a tenth, not in a thread, not under a load."""
    seen = evidence(decode_ms, {"decode": decode}, **load)
    assert (DecodeInline().suspect(seen) is not None) is there


def test_a_thread_is_tried_on_the_whole_stream() -> None:
    """What is tried is framepace's own setting, judged by the time between frames."""
    probe = DecodeInline().probe(evidence(5.0, {"decode": "inline"}, **CLOSED))
    assert isinstance(probe, Probe)
    assert (probe.change, probe.metric.kind) == ({"decode": "thread"}, "throughput")


@pytest.mark.parametrize(("in_flight", "tried"), [(None, 2), (1, 2), (2, 2), (5, 5)])
def test_a_thread_can_decode_ahead_in_its_trial(in_flight: int | None, tried: int) -> None:
    """With one request in flight the next frame is asked for too late to be decoded meanwhile."""
    load = {"load": Closed(concurrency=in_flight), "fps": None}
    probe = DecodeInline().probe(evidence(5.0, {"decode": "inline"}, **load))
    assert isinstance(probe, Probe)
    assert probe.base.workload.load == Closed(concurrency=tried)


@pytest.mark.parametrize(("in_flight", "plan"), [(1, {}), (2, {"decode": "thread"})])
def test_what_the_plan_cannot_hold_is_told(in_flight: int, plan: dict[str, str]) -> None:
    """The requests in flight are the caller's."""
    load = {"load": Closed(concurrency=in_flight), "fps": None}
    remedy = DecodeInline().remedy(evidence(5.0, {"decode": "inline"}, **load), Blocks(change={"decode": "thread"}))
    assert remedy.plan == plan
    assert ("--load closed:2" in remedy.text) is (in_flight == 1)


def ms_per_frame(decode: str, in_flight: int) -> float:
    """Of a model of 6 ms whose pictures take 4 to decode."""
    settings = {"backend": "null", "option.latency_us": 6_000, "option.noise": 0.0, "decode": decode}
    case = api.make_case("null", fps=None, load=Closed(concurrency=in_flight), settings=settings)
    with TimedLab(4_000, clock=VirtualClock()) as lab:
        between = INTERVAL.value(lab.run(case))
    assert between is not None
    return between / MS


def test_a_thread_brings_nothing_with_one_request_in_flight() -> None:
    """Its next picture is asked for when the last was delivered; with two it is decoded beside the inference."""
    assert ms_per_frame("thread", 1) == pytest.approx(ms_per_frame("inline", 1), rel=0.01)
    assert ms_per_frame("inline", 2) == pytest.approx(10, rel=0.01)
    assert ms_per_frame("thread", 2) == pytest.approx(6, rel=0.01)
