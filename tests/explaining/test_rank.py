"""The order of findings: what is proven first, and what makes a model fit after what is wrong with it."""

from __future__ import annotations

from msgspec.structs import replace

from framepace.explaining.verdict import rank
from tests.reporting import samples


def test_a_way_out_stands_behind_every_cause_that_was_proven() -> None:
    """A lower precision may be worth more than a second worker: it is not what is wrong."""
    cause = replace(samples.finding(), code="FP009", severity="low", share=0.1)
    way_out = replace(samples.finding(), code="FP028", severity="high", share=0.6)
    undecided = replace(samples.finding(), code="FP001", verdict="undecided")
    ordered = sorted((way_out, undecided, cause), key=rank)
    assert [finding.code for finding in ordered] == ["FP009", "FP028", "FP001"]
