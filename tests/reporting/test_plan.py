"""Plans for people: every line that is not the default, typed as after --set, with its reason."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from framepace.facts.plan import ModelPlan, Plan, Prepare, Target
from framepace.facts.settings import SETTINGS, Case, apply
from framepace.facts.workload import Closed, Workload
from framepace.reporting.views.plan import PlanLine, plan_view
from tests.reporting.samples import MACHINE

PLAN = Plan(models=(ModelPlan(name="a", model="x"),))
TWO = replace(PLAN, models=(*PLAN.models, ModelPlan(name="b", model="y")))
VALUES: dict[str, Any] = {
    "batch": 4, "window-ms": 2.5, "batch-policy": "deadline", "batch-sizes": (2, 4), "threads": 2, "spinning": False,
    "size": (384, 640), "layout": "nhwc", "mean": (0.485, 0.456, 0.406), "colour": "bgr", "prepare-constant": True,
    "workers": 3, "wait": "spin", "gc": "off", "heartbeat-ms": 5.0, "nice": -5, "drop": "oldest", "buffer": 8,
    "option.level": 3, "b.precision": "fp16",
}  # fmt: skip


def lines(plan: Plan) -> list[PlanLine]:
    """All lines of a plan."""
    return [line for part in plan_view(plan, MACHINE).parts for line in part.lines]


def changed(plan: Plan, changes: dict[str, Any]) -> Plan:
    """The plan with settings changed."""
    return apply(Case(plan=plan, workload=Workload(load=Closed())), changes).plan


def test_a_plan_of_defaults_has_no_line() -> None:
    """Nothing is explained that nobody chose; a plan without a target or a machine says so."""
    assert lines(TWO) == []
    view = plan_view(TWO, MACHINE)
    assert view.target.startswith("none")
    assert view.machine.startswith("unknown")
    assert view.warning == ""


@given(st.sets(st.sampled_from(sorted(VALUES))))
def test_the_lines_typed_as_settings_give_the_plan_back(names: set[str]) -> None:
    """What is shown is all that differs: set on the default plan it is the plan that was shown."""
    plan = changed(TWO, {name: VALUES[name] for name in sorted(names)})
    assert changed(TWO, {line.setting: line.value for line in lines(plan)}) == plan


def test_reasons_are_those_of_the_value() -> None:
    """Spinning and sleeping have different reasons; what no reason is known for has its sentence."""
    spin, sleep = (lines(changed(PLAN, {"wait": wait}))[0] for wait in ("spin", "sleep"))
    assert spin.why != sleep.why
    assert spin.help == sleep.help == SETTINGS["wait"].help
    assert spin.default == "hybrid"


def test_what_no_setting_reaches_is_shown_too() -> None:
    """Shapes are only in the file; preparation in full."""
    model = ModelPlan(name="a", model="x", shapes={"in": (1, 3, 8, 8)}, prepare=Prepare(scale=1.0, pad_value=0))
    found = {line.field: line.value for line in lines(Plan(models=(model,)))}
    assert found == {"shapes.in": "1x3x8x8", "prepare.scale": "1", "prepare.pad_value": "0"}


def test_the_warning_is_for_other_machines_only() -> None:
    """The fingerprint decides."""
    assert plan_view(replace(PLAN, machine=MACHINE.fingerprint), MACHINE).warning == ""
    assert "not for this one" in plan_view(replace(PLAN, machine="0" * 12), MACHINE).warning


def test_the_budget_is_the_period_unless_it_is_set() -> None:
    """25 fps leave 40 ms; a p99 that is set is what it says."""
    assert "p99 within 40.0 ms (the frame period)" in plan_view(replace(PLAN, target=Target(fps=25)), MACHINE).target
    assert plan_view(replace(PLAN, target=Target(fps=25, p99_ms=20)), MACHINE).target.endswith("p99 within 20.0 ms")
