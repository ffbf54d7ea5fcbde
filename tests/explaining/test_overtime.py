"""Explanations whose sources are so slow that their time is over before everything was measured."""

from __future__ import annotations

from typing import Any, cast

import pytest

from framepace.errors import SourceError
from framepace.explaining.draft import Draft
from framepace.explaining.scopes import SCOPES, measure_scopes
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.settings import Case
from framepace.facts.workload import Closed, Input, Workload
from framepace.testing import FakeClock

PLAN = Plan(models=(ModelPlan(name="m", model="null", backend="null"),))


class SlowLab:
    """A lab with 8 s left in which every run takes as long as it is told."""

    clock = FakeClock()
    spent = 2.0
    left = 8.0
    loading = 0.0

    def __init__(self, run_s: float, loading_s: float) -> None:
        self._run_s = run_s
        self._loading_s = loading_s

    def say(self, text: str) -> None:
        """Nobody listens."""

    def run(self, *_: object, **__: object) -> None:
        """Take the time."""
        self.spent += self._run_s + self._loading_s
        self.loading += self._loading_s
        self._loading_s = 0.0


def measured(run_s: float, loading_s: float = 0.0, video: str = "rtsp://camera/1") -> set[str]:
    """The scopes that are measured before the explanation is given up, if it is."""
    draft = Draft()
    case = Case(plan=PLAN, workload=Workload(load=Closed(), input=Input(videos=(video,))))
    measure_scopes(cast("Any", SlowLab(run_s, loading_s)), case, draft)
    return set(draft.traces)


def test_scopes_that_begin_soon_after_the_time_are_measured() -> None:
    """Up to 5 s after it: an explanation with very little time has an answer, too. Engines take what they take."""
    assert measured(4.3) == SCOPES
    assert measured(4.3, loading_s=300.0) == SCOPES
    assert measured(14.0, video="file.mp4") == SCOPES


def test_an_explanation_is_given_up_long_after_its_time() -> None:
    """A source that stalls can take half a minute per scope; what was measured is named."""
    with pytest.raises(SourceError, match="the time was over") as raised:
        measured(14.0)
    assert raised.value.got == "16 s for the scopes measured so far: stream"
