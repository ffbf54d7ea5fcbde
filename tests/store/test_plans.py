"""Plans as people edit them, and facts as JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framepace.errors import FramepaceError, PlanError, StoreError
from framepace.facts.address import without_secrets
from framepace.facts.finding import Account, Explanation, Finding
from framepace.facts.plan import (
    Batching,
    EnginePlan,
    ModelPlan,
    Plan,
    Prepare,
    SourcePolicy,
    Target,
)
from framepace.store import load_explanation, load_plan, save_json, save_plan

names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
positive = st.integers(1, 5000)
workers = st.integers(1, 1024)
models = st.builds(
    ModelPlan,
    name=names.filter(bool),
    model=names,
    precision=st.sampled_from(["fp32", "fp16", "int8"]),
    size=st.none() | st.tuples(positive, positive),
    shapes=st.dictionaries(names, st.tuples(positive, positive), max_size=2),
    batch=st.builds(Batching, max=positive, window_ms=st.floats(0, 3.6e6)),
    spinning=st.booleans(),
    prepare=st.builds(Prepare, scale=st.floats(1e-9, 1e9), mean=st.tuples(st.floats(0, 1)), hook=st.none() | names),
    options=st.dictionaries(
        names,
        st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | names,
        max_size=3,
    ),
)
plans = st.builds(
    Plan,
    models=st.lists(models, min_size=1, max_size=2, unique_by=lambda model: model.name).map(tuple),
    engine=st.builds(EnginePlan, workers=workers, gc=st.sampled_from(["on", "off"]), keeper=st.booleans()),
    source=st.builds(SourcePolicy, drop=st.sampled_from(["never", "oldest"])),
    target=st.builds(Target, fps=st.none() | st.floats(1e-3, 1e6)),
    traces=st.lists(names, max_size=2).map(tuple),
)


@given(plans)
@settings(max_examples=60, deadline=None)
def test_any_plan_reads_back_equal(plan: Plan) -> None:
    """What is written and what is left out as default is the same plan again, but for what looks like a secret."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "plan.yaml"
        save_plan(plan, path)
        assert load_plan(path) == without_secrets(plan)


def test_a_plan_file_is_short_and_says_its_format(tmp_path: Path) -> None:
    """A header for people, the format, and only what was chosen."""
    save_plan(Plan(models=(ModelPlan(name="a", model="a.onnx"),)), tmp_path / "p.yaml")
    lines = (tmp_path / "p.yaml").read_text().splitlines()
    assert lines[0].startswith("#")
    assert lines[1:] == ["format: framepace.plan/2", "models:", "- name: a", "  model: a.onnx"]


@pytest.mark.parametrize(
    ("format", "word", "meaning"),
    [(1, "threads", "workers"), (1, "processes", "worker-processes"), (2, "threads", "threads")],
)
def test_strategies_of_an_older_plan_keep_their_meaning(tmp_path: Path, format: int, word: str, meaning: str) -> None:
    """Format 1 called workers 'threads' and 'processes'; format 2 means what it says."""
    text = f"format: framepace.plan/{format}\nmodels: [{{name: m, model: m.onnx}}]\nengine:\n  strategy: {word}\n"
    (tmp_path / "p.yaml").write_text(text)
    plan = load_plan(tmp_path / "p.yaml")
    assert plan.engine.strategy == meaning
    assert plan.format == "framepace.plan/2"


@pytest.mark.parametrize(("word", "meaning"), [("off", "off"), ("on", "on"), ("'off'", "off")])
def test_on_and_off_are_words(tmp_path: Path, word: str, meaning: str) -> None:
    """`gc: off` means off, although YAML 1.1 reads it as false."""
    (tmp_path / "p.yaml").write_text(f"models: [{{name: m, model: m.onnx}}]\nengine:\n  gc: {word}\n")
    assert load_plan(tmp_path / "p.yaml").engine.gc == meaning


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("modles: []", "did you mean 'models'"),
        ("models: [{name: m, model: x, batch: {maxx: 2}}]", "did you mean 'max'"),
        ("models: [{name: m, model: x, max: 2}]", "allowed there: after, backend, batch"),
        ("models: [{name: m, model: x, batch: {max: 0}}]", "$.models[0].batch.max"),
        ("models: []\nengine: {wait: nap}", "$.engine.wait"),
        ("models: []\nengine: 3", "$.engine"),
        ("target: {fps: 30}", "models"),
        ("format: framepace.plan/3\nmodels: []", "framepace.plan/2 or older"),
        ("format: framepace.trace/1\nmodels: []", "unknown format"),
        ("models: [}", "YAML"),
        ("\tmodels: []", "YAML"),
        ("", "mapping"),
        ("models: !!python/object:os.system {}", "YAML"),
        ("1: 2", "not valid"),
    ],
)
def test_a_wrong_plan_is_a_sentence_that_says_where(tmp_path: Path, text: str, says: str) -> None:
    """Each mistake names its place or the nearest word that would have been right."""
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises((PlanError, StoreError)) as error:
        load_plan(tmp_path / "p.yaml")
    assert says in str(error.value)
    assert error.value.fix


@given(st.binary(max_size=60))
@settings(max_examples=150, deadline=None)
def test_no_file_makes_reading_a_plan_fail_otherwise(data: bytes) -> None:
    """Whatever the bytes, reading gives a plan or an error of ours."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "plan.yaml"
        path.write_bytes(data)
        try:
            found = load_plan(path)
        except FramepaceError:
            return
        assert found.models


def test_a_missing_plan_is_a_sentence(tmp_path: Path) -> None:
    """The path and what to do."""
    with pytest.raises(StoreError, match="cannot be read"):
        load_plan(tmp_path / "none.yaml")


EXPLANATION = Explanation(
    verdict="met",
    bottleneck="host",
    met=True,
    account=Account(model=1.0, pipeline=2.0, stream=3.0, lines=(), unexplained=0.0),
    findings=(Finding(code="FP013", title="t", verdict="confirmed", severity="high", summary="s"),),
    summaries={},
    plan=Plan(models=()),
    traces=("a",),
    seconds=1.5,
)


def test_an_explanation_reads_back_equal(tmp_path: Path) -> None:
    """JSON that people can read, and the same facts from it."""
    save_json(EXPLANATION, tmp_path / "e.json")
    assert load_explanation(tmp_path / "e.json") == EXPLANATION
    assert '\n  "verdict": "met"' in (tmp_path / "e.json").read_text()


def test_numpy_numbers_become_plain_ones(tmp_path: Path) -> None:
    """Evidence straight from NumPy can be saved."""
    evidence = {"cpu": np.int64(3), "share": np.float64(0.5), "levels": np.arange(2), "hit": np.bool_(True)}
    finding = Finding(code="FP001", title="", verdict="refuted", severity="info", summary="", evidence=evidence)
    save_json(finding, tmp_path / "f.json")
    assert '"cpu": 3' in (tmp_path / "f.json").read_text()


@pytest.mark.parametrize("data", [b"", b"{", b'{"verdict": 3}', b"\xff\xfe"])
def test_a_broken_explanation_is_a_sentence(tmp_path: Path, data: bytes) -> None:
    """Empty, cut off, of another shape, not text: StoreError."""
    (tmp_path / "e.json").write_bytes(data)
    with pytest.raises(StoreError, match="damaged"):
        load_explanation(tmp_path / "e.json")


@pytest.mark.parametrize(("load", "name"), [(load_plan, "plan.yaml"), (load_explanation, "explanation.json")])
def test_a_folder_in_place_of_a_file_names_the_file(tmp_path: Path, load: Callable[[Path], object], name: str) -> None:
    """As commands write it."""
    with pytest.raises(StoreError, match=f"name the file: .*/{name}$"):
        load(tmp_path)
