"""`export --verify` against the real Triton: the same answers for every plan, and both sides under the plan's load."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from framepace import api
from framepace.exchanging import export, verify_export
from framepace.facts.plan import Plan
from framepace.facts.verified import STAGES
from tests.triton.server import triton
from tests.triton.test_export import PLANS


def plan(name: str) -> Plan:
    """A plan whose only model has that name."""
    made = api.make_case("builtin:classifier", fps=20, settings=PLANS[name]).plan
    return replace(made, models=(replace(made.models[0], name=name),))


@pytest.mark.long
def test_exported_plans_are_proven_in_triton(tmp_path: Path) -> None:
    """Seven plans give the same answers; of one that prepares pictures there, the steps of its ensemble are told.

    Its stages add up to the mean latency, and both what is prepared and what is waited there is counted.
    """
    for name in PLANS:
        export(plan(name), tmp_path / "repository", runtime="python")
    with triton(tmp_path / "repository") as server:
        proofs = {name: verify_export(plan(name), server.url, rounds=1, seconds=0.5) for name in PLANS}
        other = replace(plan("plain"), models=(replace(plan("plain").models[0], name="bgr"),))
        wrong = verify_export(other, server.url, rounds=1, seconds=0.5)
    assert [name for name, proof in proofs.items() if not proof.passed] == []
    for proof in proofs.values():
        assert proof.here is not None
        assert proof.there is not None
        assert set(proof.there.stages) == set(STAGES)
        assert proof.there.stages["transport"] > proof.here.stages["transport"] == 0
        assert sum(sum(row.batches.values()) for row in proof.served) == sum(row.executions for row in proof.served)
    assert proofs["letterboxed"].there is not None
    assert proofs["letterboxed"].there.stages["prepare"] > 0
    assert "clients send RGB" in proofs["letterboxed"].notes[0]
    assert not wrong.passed  # channels are in another order there
    assert wrong.here is None
