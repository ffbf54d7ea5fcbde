"""Which node is blamed when a precision is refused: in the time that there is."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from framepace.clock.system import SystemClock
from framepace.facts.accuracy import Agreement
from framepace.facts.plan import ModelPlan
from framepace.facts.workload import Input
from framepace.numerics.blame import Blamed, blamed
from framepace.numerics.trying import trials_of
from tests.numerics.networks import large_norm

FRAMES = 4
LONG_S = 600.0


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path / "cache"))


def _refused(folder: Path, scale: float, epsilon: float = 1e-3) -> tuple[ModelPlan, Agreement]:
    """A network with a normalisation that was taken apart, in FP16, and how far its outputs agree."""
    plan = replace(large_norm(scale, epsilon).plan(folder, "last"), precision="fp16")
    trials = trials_of(plan, Input(), "fp16", FRAMES)
    return plan, trials.agreement(trials.network.names, range(FRAMES))


def _blamed(plan: ModelPlan, refused: Agreement, seconds: float = LONG_S) -> Blamed | None:
    return blamed(plan, Input(), refused, seconds, SystemClock())


def test_where_nan_begins_is_told_with_the_frame(tmp_path: Path) -> None:
    """Values that vanish and are divided by: the node is that of the hunt, on the frame that agrees least."""
    plan, refused = _refused(tmp_path, 1e-5, epsilon=0.0)
    found = _blamed(plan, refused)
    assert found is not None
    assert found.fault == "underflow"
    assert found.node.name == "square"
    assert found.frame in range(FRAMES)


def test_a_large_error_is_blamed_on_the_node_that_makes_most_of_it(tmp_path: Path) -> None:
    """Without NaN the node comes from a ranking on one frame."""
    plan, refused = _refused(tmp_path, 3000.0)
    found = _blamed(plan, refused)
    assert found is not None
    assert (found.node.name, found.fault, found.complete) == ("square", None, True)
    assert found.error is not None
    assert found.error > 0.03


def test_without_time_nothing_is_blamed(tmp_path: Path) -> None:
    """No node is guessed."""
    plan, refused = _refused(tmp_path, 3000.0)
    assert _blamed(plan, refused, seconds=-1.0) is None
    assert _blamed(replace(plan, precision="fp32"), refused) is None
