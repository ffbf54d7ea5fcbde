"""Damaged inputs, the short form of `make attack`: each is read, or refused with a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attack import corpus, fuzz, fuzzworker, mutations
from attack.counts import Counts, Part
from attack.readers import READERS, Place
from framepace.errors import FramepaceError
from framepace.store import load_plan

SEED = 1
SHARE = 0.002
KINDS = ("onnx", "exported", "plan", "trace", "columns", "log", "video", "values", "sources", "orders")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus without what only commands can make, and few values."""
    return corpus.make(tmp_path_factory.mktemp("corpus"), SEED, commands=(), values=20)


def test_what_is_damaged_was_whole_before(inputs: Path) -> None:
    """Damage to a plan that is refused anyway would try nothing."""
    assert load_plan(inputs / "plan.yaml").engine.gc == "off"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_damaged_is_read_or_refused(kind: str, inputs: Path, tmp_path: Path) -> None:
    """Neither an exception of another kind nor a secret comes out, whatever the bytes."""
    found = []
    for number in range(fuzz.plan(SHARE)[kind]):
        place = fuzzworker.emptied(tmp_path / "input")
        found.append(fuzzworker.try_input(kind, number, SEED, inputs, place))
    assert not [one for one in found if one is not None]


def test_a_process_that_crashes_is_counted_with_its_input(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker ends by a signal at its third input: that is one finding, and the others are tried all the same."""
    monkeypatch.setenv(fuzzworker.CRASH, "2")
    (tmp_path / "corpus").symlink_to(inputs)
    counts = Counts()
    fuzz.try_inputs(SEED, "values", 0, 5, inputs, tmp_path, counts)
    assert counts.tried["values"] == 5
    assert [(finding.fault, finding.where) for finding in counts.findings] == [("signal", "SIGSEGV")]
    assert Path(counts.findings[0].kept).is_dir()


def test_a_secret_and_an_exception_are_findings(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What says the secret of an address that was in the input, and what raises anything but framepace's errors."""

    def tell(place: Place) -> str:
        (place.folder / "plan.yaml").write_text(mutations.ADDRESSES[0])
        return f"opened {mutations.ADDRESSES[0]}"

    def fail(place: Place) -> str:
        raise ZeroDivisionError

    def refuse(place: Place) -> str:
        raise FramepaceError("no")

    outcomes = []
    for attempt in (tell, fail, refuse):
        monkeypatch.setitem(READERS, "made up", (attempt, 1))
        place = fuzzworker.emptied(tmp_path / "input")
        outcomes.append(fuzzworker.try_input("made up", 0, SEED, inputs, place))
    assert [outcome and outcome[0] for outcome in outcomes] == ["secret", "traceback", None]


def test_a_full_run_has_fifty_thousand_inputs() -> None:
    """As the issue asks; a share of it has a share of each kind."""
    assert sum(fuzz.plan(1.0).values()) >= 50_000
    assert fuzz.plan(0.1)["onnx"] == fuzz.plan(1.0)["onnx"] / 10


@given(count=st.integers(0, 60), of=st.integers(1, 9))
def test_parts_have_each_piece_once(count: int, of: int) -> None:
    """So that parts on several cores are one full run."""
    pieces = [piece for index in range(of) for piece in Part(index, of).take(range(count))]
    assert sorted(pieces) == list(range(count))
