"""The order of findings: what is proven first, and what makes a model fit after what is wrong with it."""

from __future__ import annotations

from msgspec.structs import replace

from framepace.explaining.verdict import ordered, rank
from tests.reporting import samples


def test_a_way_out_stands_behind_every_cause_that_was_proven() -> None:
    """A lower precision may be worth more than a second worker: it is not what is wrong."""
    cause = replace(samples.finding(), code="FP009", severity="low", share=0.1)
    way_out = replace(samples.finding(), code="FP028", severity="high", share=0.6)
    undecided = replace(samples.finding(), code="FP001", verdict="undecided")
    ordered = sorted((way_out, undecided, cause), key=rank)
    assert [finding.code for finding in ordered] == ["FP009", "FP028", "FP001"]


def test_cores_that_are_free_stand_before_the_arithmetic_that_wants_them() -> None:
    """Half the work is worth more than a second core, and is another model; what is not proven moves nothing."""
    arithmetic = replace(samples.finding(), code="FP008", severity="high", share=0.5)
    cores = replace(samples.finding(), code="FP020", severity="high", share=0.4)
    hook = replace(samples.finding(), code="FP011", severity="high", share=0.6)
    assert [finding.code for finding in ordered((cores, arithmetic, hook))] == ["FP011", "FP020", "FP008"]
    undecided = replace(cores, verdict="undecided")
    assert [finding.code for finding in ordered((undecided, arithmetic))] == ["FP008", "FP020"]
