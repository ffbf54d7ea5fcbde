"""The pure parts of bench/injected.py: what counts as right, and the table."""

from __future__ import annotations

import argparse
import importlib
import resource
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepace.facts.finding import Finding, Intervention
from framepace.facts.summary import Estimate

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture(scope="module")
def injected() -> Any:
    """The module, which lives beside its helpers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        yield importlib.import_module("injected")


@pytest.fixture(scope="module")
def injections(injected: Any) -> Any:
    """The module that holds what is injected."""
    return importlib.import_module("injections")


@pytest.fixture(scope="module")
def cpu_injections(injected: Any) -> Any:
    """The module that holds the causes of the CPU."""
    return importlib.import_module("cpu_injections")


def finding(code: str, changed: dict[str, Any] | None = None, **evidence: Any) -> Finding:
    """A confirmed finding, by a trial that changed some settings."""
    one = Estimate(value=1.0)
    trial = Intervention(changed=changed or {}, metric="m", unit="ns", before=one, after=one, ratio=one, rounds=2)
    return Finding(
        code=code, title="t", verdict="confirmed", severity="high", summary="s", evidence=evidence, intervention=trial
    )


@pytest.mark.parametrize(
    ("cause", "found", "right"),
    [
        ("slow decoding", finding("FP011", stage="decode"), True),
        ("slow decoding", finding("FP011", stage="prepare"), False),
        ("slow decoding", finding("FP012"), False),
        ("garbage", finding("FP015", coincides_with="gc"), True),
        ("garbage", finding("FP015", coincides_with="page faults"), False),
        ("spinning", finding("FP013"), True),
        ("threads x 4", finding("FP012", {"threads": 2}), True),
        ("threads x 4", finding("FP012", {"nice": -10}), False),
        ("neighbour", finding("FP012", {"nice": -10}), True),
    ],
)
def test_the_right_code_for_the_wrong_stage_is_wrong(
    cpu_injections: Any, cause: str, found: Finding, right: bool
) -> None:
    """A code that stands for several stages or events counts only when it names the injected one."""
    assert cpu_injections.CPU[cause].fits(found) is right


@given(right=st.integers(0, 20), wrong=st.integers(0, 20), undecided=st.integers(0, 20), failed=st.integers(0, 20))
def test_every_repetition_counts_once_and_the_goal_is_nine_of_ten(
    injected: Any, cpu_injections: Any, right: int, wrong: int, undecided: int, failed: int
) -> None:
    """Failed and undecided repetitions count against the goal as wrong ones do."""
    rows: list[dict[str, Any]] = [
        *[{"cause": "spinning", "outcome": "right", "named": "FP013", "gain": None}] * right,
        *[{"cause": "spinning", "outcome": "wrong", "named": "FP002", "gain": None}] * wrong,
        *[{"cause": "spinning", "outcome": "undecided", "named": None, "gain": None}] * undecided,
        *[{"cause": "spinning", "error": "no answer"}] * failed,
    ]
    lines = injected.tabulate(rows, cpu_injections.CPU)
    assert len(lines) == bool(rows)
    for line in lines:
        assert line["got"] == f"{right} of {len(rows)}"
        assert line["wrong"] == (f"{wrong} x FP002" if wrong else "")
        assert (line["undecided"], line["failed"]) == (undecided, failed)
        assert line["met"] == (right / len(rows) >= 0.9)


def test_what_a_machine_cannot_inject_counts_neither_way(injected: Any, cpu_injections: Any) -> None:
    """A quota where no control group can be made is skipped, and said to be."""
    skipped = {"cause": "quota of half a core", "outcome": "skipped", "error": "no control group"}
    right = {"cause": "quota of half a core", "outcome": "right", "named": "FP027", "gain": None}
    (line,) = injected.tabulate([skipped, right], cpu_injections.CPU)
    assert (line["got"], line["skipped"], line["met"]) == ("1 of 1", 1, True)
    (line,) = injected.tabulate([skipped], cpu_injections.CPU)
    assert (line["got"], line["met"]) == ("0 of 0", None)


@given(causes=st.integers(1, 6), repeat=st.integers(1, 5), parts=st.integers(1, 4))
def test_the_parts_together_are_every_repetition_once(injected: Any, causes: int, repeat: int, parts: int) -> None:
    """Each repetition is in one part."""
    names = [f"cause {number}" for number in range(causes)]
    shares = [
        injected._tasks(argparse.Namespace(part=f"{part}/{parts}", repeat=repeat, only=names))
        for part in range(1, parts + 1)
    ]
    assert sorted(task for share in shares for task in share) == sorted(product(names, range(repeat)))


def test_networks_take_turns_and_only_those_that_are_here(injected: Any, tmp_path: Path) -> None:
    """An export that was never made leaves its turns to the others."""
    models = ("builtin:classifier", "torchvision-net")
    assert [injected._model(models, turn, tmp_path) for turn in range(2)] == ["builtin:classifier"] * 2
    export = tmp_path / "torchvision-net.onnx"
    export.touch()
    turns = [injected._model(models, turn, tmp_path) for turn in range(3)]
    assert turns == ["builtin:classifier", str(export), "builtin:classifier"]


def test_every_cause_of_the_cpu_has_two_networks(cpu_injections: Any) -> None:
    """At least fourteen kinds, each on a network that is built in and on another."""
    sick = [injection for injection in cpu_injections.CPU.values() if injection.expected]
    assert len(sick) >= 14
    assert all(len(injection.models) == 2 for injection in sick)


def test_the_gain_of_right_answers_is_the_median_of_the_sure_ones(injected: Any, cpu_injections: Any) -> None:
    """Gains of wrong answers do not count, nor those that may be nothing."""
    row = {"cause": "spinning", "outcome": "right", "named": "FP013"}
    gains: list[Any] = [{"ms": 1.0, "sure": True}, {"ms": 3.0, "sure": True}, {"ms": 50.0, "sure": False}, None]
    wrong = {**row, "outcome": "wrong", "gain": {"ms": 99.0, "sure": True}}
    (line,) = injected.tabulate([*({**row, "gain": gain} for gain in gains), wrong], cpu_injections.CPU)
    assert line["gain verified"] == "2 of 4, 2 ms"


def test_fresh_memory_faults_on_every_page(injections: Any) -> None:
    """Each call takes a page fault for each 4 KiB of its memory, again and again."""
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
        injections.fresh_memory("m", None, 0)
        assert resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before >= (3 << 20) // resource.getpagesize()


def test_heavy_preparation_leaves_the_picture_alone(injections: Any) -> None:
    """The hook only takes time."""
    picture = np.arange(360 * 640 * 3, dtype=np.uint8).reshape(360, 640, 3)
    assert injections.python_heavy(picture) is picture
