"""What is shown of facts has no secrets of addresses."""

from __future__ import annotations

import pickle

import pytest
from rich.pretty import pretty_repr

from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.settings import Case
from framepace.facts.workload import Closed, Input, Workload

CANARY = "CaNaRy77"
CAMERA = f"rtsp://admin:a@b/{CANARY}@camera.local/1?user=me&token={CANARY}"


@pytest.mark.parametrize("show", [repr, str, pretty_repr, "{!r:>1}".format, lambda fact: f"{[fact]}"])
def test_no_text_made_from_a_fact_shows_a_password(show: object) -> None:
    """Nor from what holds it; the fact itself keeps the address, and can be sent to another process."""
    model = ModelPlan(name="net", model="null", backend="null", calibration=CAMERA)
    case = Case(plan=Plan(models=(model,)), workload=Workload(load=Closed(), input=Input(videos=(CAMERA,))))
    assert callable(show)
    text = show(case)
    assert CANARY not in text
    assert "camera.local" in text
    assert "Workload(" in text
    assert pickle.loads(pickle.dumps(case)).workload.input.videos == (CAMERA,)


def test_a_fact_without_secrets_is_shown_as_ever() -> None:
    """All its fields by name."""
    assert (
        repr(Input(size=(4, 6), videos=("a.mp4",))) == "Input(videos=('a.mp4',), size=(4, 6), frames=64, cameras=None)"
    )
