"""How long the blocks of trials are on devices that make thousands of frames per second of virtual time."""

from __future__ import annotations

import math

from framepace import api
from framepace.clock.virtual import VirtualClock
from framepace.explaining.draft import Draft
from framepace.explaining.hypothesis import Probe
from framepace.explaining.metrics import LATENCY
from framepace.explaining.suspects import trial_of
from framepace.explaining.trial import Blocks, longest_block_s
from framepace.explaining.verification import shortest_s
from framepace.facts.settings import Case
from framepace.facts.workload import Closed
from framepace.lab.lab import Lab

FAST = {"backend": "simulated", "option.device": "a100", "workers": 4}


def case(load: Closed | None = None, fps: float | None = None) -> Case:
    """A network on a device that makes some 8,000 frames per second."""
    return api.make_case("builtin:classifier", settings=FAST, load=load, fps=fps)


def frames(probe: Probe, draft: Draft, limit_s: float) -> list[int]:
    """Frames per block of a trial within so many seconds; none where there is no time."""
    with Lab(limit_s, clock=VirtualClock()) as lab:
        blocks = trial_of(lab, probe, "", 1, draft)
    if not isinstance(blocks, Blocks):
        return []
    return [len(trace.measured().requests["due"]) for trace in (*blocks.before, *blocks.after)]


def test_a_block_in_virtual_time_ends_after_a_thousand_frames_and_needs_no_more_time() -> None:
    """Each is simulated one by one, in seconds that the person waits for: a block of 1 s would be 8,000."""
    probe = Probe(case(Closed(concurrency=8)), {"workers": 2}, LATENCY)
    draft = Draft(longest_s=longest_block_s(virtual=True, frames_per_s=8_000))
    counts = frames(probe, draft, limit_s=1.5)
    assert counts
    assert all(300 < count < 1_500 for count in counts)
    assert shortest_s(draft) < 1.5
    assert not frames(probe, Draft(), limit_s=1.5)


def test_an_effect_that_takes_its_time_gets_it() -> None:
    """A clock that follows the load needs its seconds, five times the cap, on a device of 500 frames per second."""
    slow = {"backend": "simulated", "option.device": "ideal", "option.gflops": 10.0}
    probe = Probe(
        api.make_case("null", settings=slow, load=Closed(concurrency=8)), {"workers": 2}, LATENCY, least_s=0.5
    )
    counts = frames(probe, Draft(longest_s=0.1), limit_s=10)
    assert min(counts) > 200


def test_on_a_real_clock_and_at_the_rate_of_a_camera_nothing_is_capped() -> None:
    """A block at 30 fps is far shorter than a thousand frames."""
    assert longest_block_s(virtual=False, frames_per_s=8_000) == math.inf
    assert longest_block_s(virtual=True, frames_per_s=0) == math.inf
    assert longest_block_s(virtual=True, frames_per_s=30) > 10
