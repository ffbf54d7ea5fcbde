"""What a run decides from numbers alone: recordings, hangs, restarts, rates."""

from __future__ import annotations

import numpy as np
import pytest

from framepace.facts.trace import REQUEST_COLUMNS
from framepace.running.canary import Trial
from framepace.running.flight import Ring, Trigger
from framepace.running.rates import Rate, ResultAges
from framepace.running.watchdog import Awake, Restarts, hangs
from framepace.units import NS_PER_MS, NS_PER_S


def test_a_miss_is_recorded_once_with_what_follows_it() -> None:
    """Two seconds after it; misses of the next ten minutes make no other recording, the next one does."""
    trigger = Trigger(after_s=2, pause_s=600, most=2)
    assert not trigger.is_due(0)
    trigger.missed(0)
    trigger.missed(NS_PER_S)
    assert not trigger.is_due(NS_PER_S)
    assert trigger.is_due(2 * NS_PER_S)
    assert not trigger.is_due(3 * NS_PER_S)
    trigger.missed(100 * NS_PER_S)
    assert not trigger.is_due(200 * NS_PER_S)
    trigger.missed(700 * NS_PER_S)
    assert trigger.is_due(702 * NS_PER_S)
    trigger.missed(2000 * NS_PER_S)
    assert not trigger.is_due(2100 * NS_PER_S)


def test_the_ring_forgets_what_is_older_than_it_keeps() -> None:
    """A row per second for two minutes: those of the last minute are left."""
    now = 0
    ring = Ring(lambda: now, seconds=60)
    for second in range(120):
        now = second * NS_PER_S
        ring.append("requests", second.to_bytes(8, "little") * len(REQUEST_COLUMNS))
    assert ring.sources() == list(range(59, 120))


@pytest.mark.parametrize(
    ("longest_s", "slowest_s", "is_hung"),
    [(9, 0.01, False), (11, 0.01, True), (11, 1.0, False), (21, 1.0, True), (0, 0, False)],
)
def test_a_hang_is_longer_than_patience_and_than_anything_before(
    longest_s: float, slowest_s: float, is_hung: bool
) -> None:
    """Ten seconds, and twenty times the slowest so far."""
    assert hangs(round(longest_s * NS_PER_S), round(slowest_s * NS_PER_S)) == is_hung


def test_a_pause_of_the_process_is_no_time_of_a_worker() -> None:
    """Asked four times per second it grows; after half a minute in which nobody asked it begins anew."""
    awake = Awake()
    assert [awake.ns(quarter * NS_PER_S // 4) for quarter in range(60)][-1] == 59 * NS_PER_S // 4
    assert awake.ns(45 * NS_PER_S) == 0
    assert awake.ns(46 * NS_PER_S) == NS_PER_S


def test_an_engine_is_started_again_later_and_later_and_not_for_ever() -> None:
    """At once, then after 1, 3, 7 and 15 s; the sixth end in a row is the last; ten calm minutes forgive."""
    restarts = Restarts()
    assert [restarts.after(second * NS_PER_S) for second in range(5)] == [0, 1, 3, 7, 15]
    assert restarts.after(6 * NS_PER_S) is None
    assert restarts.after(1000 * NS_PER_S) == 0
    assert restarts.count == 6


def test_a_rate_counts_whole_seconds() -> None:
    """Thirty per second, also with the running second half over; nothing in the first; and it falls when it stops."""
    rate = Rate()
    assert rate.per_second(0) is None
    for number in range(165):
        rate.add(number * NS_PER_S // 30)
    assert rate.per_second(NS_PER_S // 2) is None
    assert rate.per_second(5 * NS_PER_S + NS_PER_S // 2) == 30
    assert rate.per_second(8 * NS_PER_S) == pytest.approx((60 + 15) / 5, abs=0.1)
    assert rate.per_second(20 * NS_PER_S) == 0


def test_a_rate_is_asked_while_others_note_events() -> None:
    """A source's thread notes a picture between two comparisons of the status: it neither fails nor loses any."""
    rate = Rate()
    rate.add(NS_PER_S, 7)
    rate.add(2 * NS_PER_S, 5)

    class Meanwhile(int):
        """A time in ns, or in seconds; as it is compared, another thread has its turn."""

        def __floordiv__(self, other: int) -> Meanwhile:
            return Meanwhile(int(self) // other)

        def __gt__(self, other: int) -> bool:
            rate.add(3 * NS_PER_S)
            return int(self) > other

    assert rate.per_second(Meanwhile(3 * NS_PER_S)) == 6


def test_ages_are_those_of_the_last_seconds_and_counted_for_good() -> None:
    """Six hundred at 1 to 600 ms, then silence."""
    ages = ResultAges()
    assert ages.quantiles_ms(0, 0.5) == (None,)
    for age in range(1, 601):
        ages.add(NS_PER_S, age * NS_PER_MS)
    assert ages.quantiles_ms(NS_PER_S, 0.5, 0.99) == pytest.approx((301, 595))
    assert ages.quantiles_ms(60 * NS_PER_S, 0.5) == (None,)
    counted = ages.counted()
    assert (sum(counted.counts), counted.counts[0], counted.sum_ms) == (600, 5, 180_300)


@pytest.mark.parametrize(
    ("ratio", "failures", "verdict"),
    [(0.8, 0, "promoted"), (1.0, 0, "promoted"), (1.5, 0, "rolled back"), (0.8, 5, "rolled back")],
)
def test_a_canary_is_judged_by_its_interval(ratio: float, failures: int, verdict: str) -> None:
    """Blocks of 100 frames with 5 % of noise: decided within a minute; frames that fail decide at once."""
    rng = np.random.default_rng(0)
    trial = Trial()
    for _ in range(12):
        before = rng.normal(10e6, 0.5e6, 100).astype(int).tolist()
        after = rng.normal(ratio * 10e6, 0.5e6, 100).astype(int).tolist()
        said = trial.add(before, after, failures)
        if said is not None:
            break
    assert said == verdict
    assert (trial.frames == 100) == bool(failures)
    assert trial.why


def test_a_canary_of_few_frames_is_judged_by_blocks_that_take_longer() -> None:
    """Five frames in five seconds, as a tenth of one camera of 10 per second gives: two looks are one block."""
    trial = Trial()
    said = [trial.add([10**7] * 45, [9 * 10**6 + number for number in range(5)], 0) for _ in range(8)]
    assert said == [*[None] * 7, "promoted"]


def test_a_canary_that_gets_no_frames_is_rolled_back_as_undecided() -> None:
    """After five minutes, which are 60 looks; and it is said why."""
    trial = Trial()
    said = [trial.add([10**7] * 50, [], 0) for _ in range(60)]
    assert said == [*[None] * 59, "rolled back"]
    assert "undecided" in trial.why


def test_a_canary_that_is_as_quick_within_its_noise_is_undecided_in_the_end() -> None:
    """Its blocks differ by more than what is compared."""
    trial = Trial()
    said = [trial.add([10**7] * 50, [10**7 * (1 + 4 * (number % 2))] * 50, 0) for number in range(60)]
    assert said[-1] == "rolled back"
