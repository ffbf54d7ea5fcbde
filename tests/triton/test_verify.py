"""`export --verify` against the real Triton: the same answers for every plan, and both sides under the plan's load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from framepace import api, verifying
from framepace.errors import InferencesFailed
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
def test_exported_plans_are_proven_in_triton(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven plans give the same answers; of one that prepares pictures there, the steps of its ensemble are told.

    What each will do is not predicted here: that takes half a minute per plan.
    """

    def left_out(*_: Any, **__: Any) -> None:
        raise InferencesFailed("left out", fix="")

    monkeypatch.setattr(verifying, "measure_primitives", left_out)
    for name in PLANS:
        export(plan(name), tmp_path / "repository", runtime="python")
    with triton(tmp_path / "repository") as server:
        proofs = {name: verify_export(plan(name), server.url, rounds=1, seconds=0.5) for name in PLANS}
        other = replace(plan("plain"), models=(replace(plan("plain").models[0], name="bgr"),))
        wrong = verify_export(other, server.url, rounds=1, seconds=0.5)
    assert [name for name, proof in proofs.items() if not proof.passed] == []
    for proof in proofs.values():
        if proof.here is not None and proof.there is not None:  # a queue may refuse all on a busy machine
            assert set(proof.there.stages) == set(STAGES)
            assert proof.there.stages["transport"] >= proof.here.stages["transport"] == 0
    assert proofs["plain"].there is not None
    assert proofs["plain"].there.stages["prepare"] > 0
    assert any("clients send RGB" in note for note in proofs["letterboxed"].notes)
    assert not wrong.passed  # channels are in another order there
    assert wrong.here is None
