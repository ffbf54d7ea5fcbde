"""What comes from outside becomes a value within bounds, or a sentence; nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import framepace
from framepace import values
from framepace.cases import make_case
from framepace.cli.options import parse_load, parse_pairs, parse_shapes, parse_vary
from framepace.errors import FramepaceError, PlanError, UsageError
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.settings import SETTINGS, Case, apply, checked
from framepace.facts.workload import Closed, Input, Paced, Stop, Workload
from framepace.store import load_plan

HOSTILE = [
    "nan", "inf", "-inf", "1e-308", "1e999", "-1", "0", "²", "３", "٣", "1_000", "0x10", "9" * 23, "9" * 5000, "1e23",
    "",
    " ", "\0", "--", "1..1000000000", "1..²", "x", "0x0", "99999x99999", "²x²", "4611686018427387904", "1.5", "true",
    "a" * 5000, "\ud800", "\n", "1x" * 300, "=", "a=", "=1", "a=²", "a=1..9999999999999", "closed:nan", "closed:-1",
    "closed:0", "paced:0", "paced:nan", "paced:inf", "burst:30:²", "burst:1:2:3", "delay:-1", "poisson:", "replay:",
    "replay:\0", "paced:30:9",
]  # fmt: skip
pieces = st.sampled_from(
    [*"0123456789.eE+-x:=,²３٣_ \0\n", "nan", "inf", "..", "closed", "paced", "burst", "999999999"]
)
texts = st.one_of(st.text(max_size=40), st.lists(pieces, max_size=12).map("".join), st.sampled_from(HOSTILE))
things = st.one_of(texts, st.integers(), st.floats(), st.booleans(), st.none(), st.binary(max_size=5), st.just([1]))


def answer(read: Callable[[], Any]) -> Any:
    """What `read` returns; None where it refuses with a whole sentence. Any other exception is a failure."""
    try:
        return read()
    except UsageError as error:
        refusal = error
    for part in (refusal.what, refusal.got, refusal.expected, refusal.fix):
        assert part is not None
        assert len(str(part)) <= 400
    assert len(str(refusal.got)) <= values.LONGEST_SHOWN
    return None


@given(things, st.booleans())
@hypothesis_settings(max_examples=300, deadline=None)
def test_a_number_is_finite_and_within_its_bounds(thing: Any, whole: bool) -> None:
    """Or refused: whatever text, number or other thing is given."""
    found = answer(lambda: values.number(thing, "--n", least=-5, most=1000.5, whole=whole))
    if found is not None:
        assert math.isfinite(found)
        assert -5 <= found <= 1000.5
        assert isinstance(found, int) == whole


@pytest.mark.parametrize("text", ["²", "３", "٣", "1_000", "nan", "inf", "1e999", "9" * 41, "", "0x10", "1,5"])
def test_only_ascii_digits_make_a_number(text: str) -> None:
    """Superscripts, full-width and Arabic digits, which Python reads as digits, and words are refused."""
    assert answer(lambda: values.number(text, "--n")) is None


@pytest.mark.parametrize(("text", "number"), [("30", 30), ("-2.5", -2.5), ("1e3", 1000), (" 7 ", 7), (".5", 0.5)])
def test_usual_numbers_are_read(text: str, number: float) -> None:
    """With a sign, a fraction, an exponent or spaces around them."""
    assert values.number(text, "--n") == number


@given(things)
@hypothesis_settings(max_examples=200, deadline=None)
def test_durations_sizes_shapes_paths_and_names_are_within_bounds(thing: Any) -> None:
    """Or refused, each with what, got, expected and what to do."""
    seconds = answer(lambda: values.duration_s(thing, "--time-limit", least=1, most=100))
    assert seconds is None or 1 <= seconds <= 100
    size = answer(lambda: values.size(thing))
    assert size is None or values.possible_size(size)
    shape = answer(lambda: values.shape(thing))
    assert shape is None or values.possible_shape(shape)
    path = answer(lambda: values.path(thing, "--out"))
    if path is not None:
        assert isinstance(path.exists(), bool)
    name = answer(lambda: values.name(thing, "the name"))
    assert name is None or 1 <= len(name) <= values.LONGEST_NAME


@given(texts)
@hypothesis_settings(max_examples=300, deadline=None)
@example("threads=1..1000000000")
@example("a=1..9999,b=1")
def test_texts_of_options_become_bounded_values(text: str) -> None:
    """Loads, ranges to vary, pairs and shapes; a range is counted before it is written out."""
    answer(lambda: parse_load(text))
    answer(lambda: parse_pairs([text], "--set"))
    answer(lambda: parse_shapes([f"x={text}"]))
    for vary in (text, f"threads={text}"):
        grid = answer(lambda vary=vary: parse_vary([vary]))  # type: ignore[misc]
        assert grid is None or all(1 <= len(found) <= values.MOST_CELLS for found in grid.values())


CASE = Case(plan=Plan(models=(ModelPlan(name="m", model="null", backend="null"),)), workload=Workload(load=Closed()))


@given(st.sampled_from(sorted([*SETTINGS, "option.latency_us", "m.threads"])), things)
@hypothesis_settings(max_examples=500, deadline=None)
@example("workers", 10**23)
@example("workers", "9" * 23)
@example("window-ms", "nan")
@example("scale", float("inf"))
@example("seed", "-1")
@example("option.latency_us", "9" * 23)
def test_a_setting_is_within_bounds_or_refused(name: str, value: Any) -> None:
    """Any setting with any value: the case is one that could be read back from a file."""
    case = answer(lambda: checked(apply(CASE, {name: value})))
    assert case is None or checked(case) == case


def test_a_wrong_setting_prints_only_itself() -> None:
    """Not the workload that it would have changed, which may hold addresses."""
    workload = Workload(load=Paced(fps=30), input=Input(videos=("rtsp://camera/1",)))
    case = Case(plan=CASE.plan, workload=workload)
    for name, value in {"fps": -1, "cameras": 0, "workers": 10**23, "batch": "x", "scope": "all"}.items():
        with pytest.raises(UsageError) as error:
            apply(case, {name: value})
        assert "camera/1" not in str(error.value)
        assert str(value) in str(error.value)


@pytest.mark.parametrize(
    "options",
    [
        {"fps": math.nan}, {"fps": 0.0}, {"fps": -1}, {"fps": 1e-308}, {"p99_ms": math.inf}, {"seed": -1},
        {"seed": 10**23}, {"videos": ["\0"]}, {"videos": ["a" * 300]}, {"stop": Stop(seconds=-1)},
        {"stop": Stop(seconds=math.nan)}, {"load": Paced(fps=math.nan)}, {"load": Closed(concurrency=0)},
        {"shapes": {"nope": (1, 3)}}, {"shapes": {"x": (1 << 62, 3, 64, 64)}},
        {"fps": 0.01, "stop": Stop(seconds=1)},
    ],
)  # fmt: skip
def test_the_library_refuses_what_commands_refuse(options: dict[str, Any]) -> None:
    """Before anything is loaded: numbers out of range, shapes of inputs that no model has, runs without a frame."""
    assert answer(lambda: make_case("null", settings={"backend": "null"}, **options)) is None


@pytest.mark.parametrize("model", ["a" * 5000, "", "x/" + "b" * 256, "\0", "builtin:" + "c" * 5000])
def test_a_model_that_no_file_system_could_hold_is_refused(model: str) -> None:
    """With a short sentence."""
    assert answer(lambda: make_case(model)) is None


@pytest.mark.parametrize("fps", [0.01, 0.05])
def test_a_slow_load_is_measured_where_frames_come(fps: float) -> None:
    """A number of frames, or a time in which one comes."""
    for stop in (Stop(count=3), Stop(seconds=1 / fps)):
        assert make_case("null", fps=fps, stop=stop).workload.load == Paced(fps=fps)


_MODEL = "{name: m, model: 'null'}"


@pytest.mark.parametrize(
    "text",
    [
        "models: []", f"models: [{_MODEL}]\nformat: [a]", f"models: [{_MODEL}, {_MODEL}]", "[" * 100_000,
        "a: " * 1000, "{a: " * 100_000, "- " * 100_000, f"models: [{_MODEL}]\nengine: {{workers: {'9' * 23}}}",
        f"models: [{_MODEL}]\nengine: {{workers: {'9' * 5000}}}", f"models: [{_MODEL}]\ntarget: {{fps: .nan}}",
        f"models: [{_MODEL}]\ntarget: {{fps: .inf}}", f"models: [{_MODEL}]\ntarget: {{fps: -1}}",
        f"models: [{_MODEL}]\ntarget: {{fps: 1.0e-308}}", f"models: [{{name: {'n' * 256}, model: x}}]",
        "models: [{name: m, model: x, size: [16384, 16384]}]", "models: [{name: m, model: x, prepare: {std: [0]}}]",
        "models: [{name: m, model: x, shapes: {a: [4611686018427387904]}}]", "models: &a [*a]", "a: 2020-99-99",
        "a: !!timestamp x", "a: !!int x", "a: !!python/object:os.system {}", "\0", "format: framepace.plan/1",
        "format: framepace.plan/1\nengine: [a]\nmodels: 3", "models: {a: b}", "1", "", "? [a]\n: b",
        "a: &a [x,x]\nb: [" + "*a," * 200 + "]",
    ],
)  # fmt: skip
def test_a_hostile_plan_is_a_sentence(tmp_path: Path, text: str) -> None:
    """Nested too deep, no models, doubled names, numbers that are none, unhashable formats: never another exception."""
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    with pytest.raises(FramepaceError) as error:
        load_plan(file)
    assert isinstance(error.value, PlanError) or "format" in error.value.what
    assert len(str(error.value)) < 1000
    assert error.value.fix


def test_a_plan_that_is_too_large_is_not_parsed(tmp_path: Path) -> None:
    """More than a mebibyte is no plan."""
    file = tmp_path / "plan.yaml"
    file.write_text("# " + "x" * (1 << 20))
    with pytest.raises(PlanError, match="too large"):
        load_plan(file)


@pytest.mark.parametrize("wrong", [5, 1e308, b"x", "²", "rtsp://me:CaNaRy77@camera/1", True, object()])
@pytest.mark.parametrize("option", ["settings", "shapes", "inputs", "states"])
def test_what_has_to_be_a_mapping_is_one(option: str, wrong: Any) -> None:
    """In the library, too: a sentence, and no secret in it."""
    with pytest.raises(UsageError, match=f"{option} is not a mapping") as raised:
        make_case("null", **{option: wrong})
    assert "CaNaRy77" not in str(raised.value)


@pytest.mark.parametrize("wrong", [5, 1e308, b"x", True, {"a": 1}])
def test_what_has_to_be_a_list_is_one(wrong: Any) -> None:
    """Models, videos and images; a single text is a list of one."""
    for models, options in ((wrong, {}), ("null", {"videos": wrong}), ("null", {"images": wrong})):
        with pytest.raises(UsageError, match="is not a list"):
            make_case(models, **options)
    assert make_case("null", videos=cast("Any", "synthetic")).workload.input.videos == ("synthetic",)


@pytest.mark.parametrize("wrong", [object(), 3.5, 0, b"x", None, ["x"], "\ud800"])
def test_what_the_library_is_given_is_refused_with_a_sentence(wrong: Any) -> None:
    """Paths (0 would be standard input), grids, objectives and loads of a type that they cannot have."""
    calls: list[Callable[[], object]] = [
        lambda: load_plan(wrong),
        lambda: framepace.load_trace(wrong),
        lambda: framepace.load_explanation(wrong),
        lambda: framepace.tune("null", objective=cast("Any", wrong or "best"), time_limit=1),
        lambda: make_case("null", load=cast("Any", wrong or object())),
        lambda: framepace.sweep("null", {"batch": cast("Any", {"wrong": wrong})}),
    ]
    for call in calls:
        with pytest.raises(FramepaceError):
            call()
