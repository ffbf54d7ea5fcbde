"""NVTX ranges: framepace's stages, pushed and popped in pairs, and a sentence where the package is missing."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from framepace import UsageError, bench
from framepace.backends.base import get_backend
from framepace.clock.system import SystemClock
from framepace.engine.ranges import in_ranges
from framepace.engine.wrapping import bare
from framepace.facts.plan import ModelPlan
from framepace.facts.workload import Stop

NULL = {"backend": "null", "size": "64x64", "nvtx": True}


class Domain:
    """nvtx's domain as its documentation has it: attributes are made once, ranges nest."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self.pushed: list[str] = []

    def get_event_attributes(self, message: str) -> str:
        """What a range is called."""
        return message

    def push_range(self, attributes: str) -> None:
        """A range begins."""
        self.open.append(attributes)
        self.pushed.append(attributes)

    def pop_range(self) -> None:
        """The innermost range ends."""
        self.open.pop()


def test_each_inference_has_its_stages_as_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepare, launch and wait, by the model's name, all closed at the end; the rows are as ever."""
    domain = Domain()
    monkeypatch.setitem(sys.modules, "nvtx", SimpleNamespace(get_domain=lambda name: domain))
    trace = bench("null", fps=None, scope="pipeline", stop=Stop(count=5), settings=NULL)
    assert domain.open == []
    assert len(trace) >= 5
    for stage in ("prepare null", "infer: launch null", "infer: wait null"):
        assert domain.pushed.count(stage) >= 5


def test_without_the_package_a_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is imported unless it was asked for."""
    monkeypatch.setitem(sys.modules, "nvtx", None)
    with pytest.raises(UsageError, match="pip install"):
        bench("null", fps=None, stop=Stop(count=1), settings=NULL)
    bench("null", fps=None, stop=Stop(count=1), settings={**NULL, "nvtx": False})


def test_a_worker_that_is_kept_for_the_next_run_is_kept_without_its_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or each run would add ranges around those of the run before."""
    domain = Domain()
    monkeypatch.setitem(sys.modules, "nvtx", SimpleNamespace(get_domain=lambda name: domain))
    null = get_backend("null").load(ModelPlan(name="n", model="null", backend="null"), SystemClock()).worker()
    once, _ = in_ranges("n", null, None)
    twice, _ = in_ranges("n", once, None)
    assert bare(twice) is bare(once) is bare(null) is null
    once.enqueue(0, 1)
    once.wait(0)
    assert domain.pushed == ["infer: launch n", "infer: wait n"]
    assert once.times(0) == null.times(0)
    assert once.staging(0) is null.staging(0)
