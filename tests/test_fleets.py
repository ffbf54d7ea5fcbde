"""The simulation of whole fleets (bench/fleets.py): what a few alike devices say of all."""

from __future__ import annotations

import importlib
import statistics
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parent.parent / "bench"
_BUDGET = 0.85e6  # ns: some of the devices miss it


@pytest.fixture
def fleets(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The bench, with a small network and fewer frames per device."""
    monkeypatch.syspath_prepend(str(BENCH))
    module = importlib.import_module("fleets")
    monkeypatch.setattr(module, "KINDS", {"t4": ("builtin:classifier", 4, 900.0)})
    monkeypatch.setattr(module, "FRAMES", 60)
    return module


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_few_alike_devices_say_what_others_do(fleets: Any) -> None:
    """5 and 10 others of the same kind, each run by itself: their median p99 and those within the budget agree."""
    few = [fleets.simulated_device("t4", 9, seed, _BUDGET) for seed in range(6)]
    others = [fleets.simulated_device("t4", 9, seed, _BUDGET) for seed in range(100, 110)]
    low, *_, high = sorted(device.p99 for device in few)
    within = sum(device.p99 <= _BUDGET for device in few)
    assert low < high
    assert 0 < within < len(few)
    for count in (5, 10):
        assert low <= statistics.median(device.p99 for device in others[:count]) <= high
    share = sum(device.p99 <= _BUDGET for device in others) / len(others)
    assert fleets.least_share(within, len(few)) <= share < 1


def test_of_alike_devices_that_are_seen_the_bound_for_all_is_known(fleets: Any) -> None:
    """20 of 20 leave 13.9 % in doubt, 40 of 40 leave 7.2 %; with one that misses it is more, with none within all."""
    shares = [fleets.least_share(*counts) for counts in ((20, 20), (40, 40), (39, 40), (0, 5))]
    assert shares == pytest.approx([0.861, 0.928, 0.887, 0.0], abs=0.001)


def test_a_few_stand_for_all_and_the_row_says_so(fleets: Any) -> None:
    """The bound beside the count; where every device was run, none is needed."""
    seen = [fleets.Device(p99=0.5e6, late=0.0)] * 4
    texts = [list(fleets.rows("t4", seen, 0.51e6, _BUDGET, count))[-1]["got"] for count in (1000, 4)]
    assert texts == ["4 of 4, so of all >= 47.3%", "4 of 4"]
