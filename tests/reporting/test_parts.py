"""The tables of what a program's stages consist of, and of what was tried in it."""

from __future__ import annotations

import pytest

from framepace.facts.finding import Intervention
from framepace.facts.plan import Target
from framepace.facts.program import Part, Program
from framepace.facts.programtrial import ProgramTrial
from framepace.facts.summary import Estimate
from framepace.reporting.views.parts import parts_rows
from framepace.reporting.views.programtrial import trial_row


def test_a_long_place_leaves_room_for_the_numbers_in_80_columns() -> None:
    """The folders go first, then the end; what is short stays as it is."""
    names = (
        "app.py:3 f",
        "transformers/image_processing_backends.py:326 normalize",
        f"{'package/' * 4}{'a' * 60}.py:1 f",
    )
    parts = tuple(Part(stage="prepare", name=name, ns=1e6) for name in names)
    program = Program(command=("app.py",), folder="", target=Target(), parts=parts)
    short = [name for _, name, _, _ in parts_rows(program)]
    assert short == ["app.py:3 f", "image_processing_backends.py:326 normalize", "a" * 45 + "…"]


@pytest.mark.parametrize(
    ("interval", "says"),
    [((0.0, 51472.3), "0.43x [<0.1, >10]"), ((0.3, 0.6), "0.43x [0.30, 0.60]"), (None, "0.43x")],
)
def test_an_interval_that_says_nothing_is_not_printed_to_six_digits(
    interval: tuple[float, float] | None, says: str
) -> None:
    """Of two runs that differ as they like, the ratio may be anything."""
    low, high = interval or (None, None)
    ratio = Estimate(value=0.43, low=low, high=high)
    one = Intervention(changed={}, metric="latency", unit="ns", before=ratio, after=ratio, ratio=ratio, rounds=2)
    trial = ProgramTrial(settings={"spinning": "off"}, verdict="undecided", interventions=(one,))
    assert trial_row(trial)[3] == says
