"""Settings change cases by name."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepace.errors import UsageError
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.settings import SETTINGS, Case, Setting, apply, text
from framepace.facts.workload import Delay, Paced, Workload

TWO = Plan(models=(ModelPlan(name="a", model="x"), ModelPlan(name="b", model="y")))
CASE = Case(plan=TWO, workload=Workload(load=Paced(fps=30)))


def test_a_setting_changes_every_model_and_a_named_one_changes_one() -> None:
    """'threads' reaches all models, 'b.threads' only model b."""
    assert [m.threads for m in apply(CASE, {"threads": "2"}).plan.models] == [2, 2]
    assert [m.threads for m in apply(CASE, {"b.threads": 3}).plan.models] == [0, 3]


def test_text_and_values_mean_the_same() -> None:
    """A value typed on a command line and the same value from code give equal cases."""
    typed = apply(CASE, {"spinning": "off", "batch": "4", "size": "640x384", "heartbeat-ms": "none", "delay-ms": "20"})
    coded = apply(CASE, {"spinning": False, "batch": 4, "size": (384, 640), "heartbeat-ms": None, "delay-ms": 20.0})
    assert typed == coded
    assert apply(CASE, {"gc": "off"}).plan.engine.gc == "off"
    assert typed.workload.load == Delay(delay_ms=20)


def test_an_unknown_setting_lists_the_known_ones_and_the_nearest() -> None:
    """A typo is answered with the list and a guess."""
    with pytest.raises(UsageError) as error:
        apply(CASE, {"batsh": 2})
    assert all(name in str(error.value) for name in SETTINGS)
    assert "did you mean 'batch'" in str(error.value)


@pytest.mark.parametrize("change", [{"batch": 0}, {"fps": 0}, {"wait": "doze"}, {"batch": "many"}, {"size": "640"}])
def test_a_value_out_of_range_is_refused(change: dict[str, object]) -> None:
    """What a plan file could not hold, a setting cannot make."""
    with pytest.raises(UsageError):
        apply(CASE, change)


def test_a_value_out_of_range_is_told_by_the_name_that_was_typed() -> None:
    """Not by the field that holds it: the largest batch is `batch.max` in a plan."""
    with pytest.raises(UsageError, match=r"setting 'batch' cannot .*\n.*got: 0"):
        apply(CASE, {"batch": 0})


def test_every_setting_leads_somewhere() -> None:
    """Each row of the registry names a field that exists."""
    for setting in SETTINGS.values():
        part = {"models": TWO.models[0], "engine": TWO.engine, "source": TWO.source, "workload": CASE.workload}
        if setting.part == "load":
            continue
        fact = part[setting.part]
        for name in setting.field.split("."):
            assert hasattr(fact, name), setting.name
            fact = getattr(fact, name)


TABLE = msgspec.json.decode((Path(__file__).parent / "settings.json").read_bytes())


def test_the_settings_have_the_names_order_and_words_that_people_know() -> None:
    """The registry that is read from the fields has the rows of the table it once was, in their order."""
    rows = [
        {"name": s.name, "part": s.part, "field": s.field, "help": s.help, "why": reasons(s)} for s in SETTINGS.values()
    ]
    assert rows == TABLE


def reasons(setting: Setting) -> dict[str, str]:
    """The reasons of a setting by value, '' for all others."""
    return {value: reason for value, reason in {"": setting.why, **setting.why_value}.items() if reason}


def test_a_reason_for_a_value_is_of_a_value_that_can_be() -> None:
    """A reason for a value that nobody can type would never be shown."""
    for setting in SETTINGS.values():
        for value in setting.why_value:
            assert setting.reason(value) == setting.why_value[value]
            if setting.part != "load":
                apply(CASE, {setting.name: value})


TYPED = {
    "size": (384, 640), "mean": (0.485, 0.456, 0.406), "std": (), "scale": 1 / 255, "batch": 4, "spinning": False,
    "batch-sizes": (2, 4), "heartbeat-ms": None, "gc": "off", "window-ms": 2.5, "layout": None, "b.threads": 3,
    "sms": "50%", "b.sms": 64, "device": "cuda:1", "cameras": None, "concurrency": 3, "option.level": 3,
}  # fmt: skip


@given(st.sets(st.sampled_from(sorted(TYPED))))
def test_the_text_of_settings_is_the_inverse_of_applying_them(names: set[str]) -> None:
    """What is printed can be typed after --set, and changes the case as the values did."""
    changes = {name: TYPED[name] for name in sorted(names)}
    typed = dict(word.split("=", 1) for word in text(changes).split())
    assert apply(CASE, typed) == apply(CASE, changes)


@pytest.mark.parametrize("share", ["0%", "101%", "-5%", "5.5%", "half", "0"])
def test_a_share_of_the_sms_is_between_1_and_100_per_cent(share: str) -> None:
    """Or a number of them, from 1 on."""
    with pytest.raises(UsageError):
        apply(CASE, {"sms": share})


@pytest.mark.parametrize(
    ("name", "value", "words"), [("sms", "150%", "a share of all: 50%"), ("slow", "infer:abc", "STAGE:MILLISECONDS")]
)
def test_what_a_setting_takes_is_said_in_its_own_words(name: str, value: str, words: str) -> None:
    """No pattern for programs: what is expected is the setting's sentence."""
    with pytest.raises(UsageError) as caught:
        apply(CASE, {name: value})
    assert words in str(caught.value.expected)
    assert "regex" not in str(caught.value)
