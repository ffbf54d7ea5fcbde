"""Decoding in the worker is suspected where it takes a good part of the time between frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from framepace import api
from framepace.analyze.summary import summarize
from framepace.explaining.causes.decode_inline import DecodeInline
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe
from framepace.facts.workload import Closed
from framepace.testing import make_trace

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
