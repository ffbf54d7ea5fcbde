"""Plans as ONNX files and as images: the same answers from the files alone, and all that an image needs."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from framepace import api
from framepace.errors import StoreError, UsageError
from framepace.exchanging import export
from framepace.exporting.image import dockerfile
from framepace.exporting.wheel import constraints, wheel
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.workload import Input
from framepace.numerics.gate import agreement_on, pictures_of
from framepace.store import load_plan
from tests.exporting.test_repository import save

VARIANTS: dict[str, dict[str, Any]] = {
    "int8": {"precision": "int8", "calibration": "synthetic"},
    "folded": {"prepare-place": "graph", "mean": "0.485+0.456+0.406", "std": "0.229+0.224+0.225"},
    "prepared": {"resize": "letterbox", "mean": "0.5", "std": "0.25", "threads": 1},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_plan_of_the_files_gives_the_same_answers(variant: str, tmp_path: Path) -> None:
    """To the last bit: what was converted is in the file, what was not is in the plan beside it."""
    plan = api.make_case("builtin:classifier", settings=VARIANTS[variant]).plan
    made = export(plan, tmp_path, to="onnx")
    assert made.files == ("classifier.onnx", "plan.yaml")
    other = load_plan(tmp_path / "plan.yaml").models[0]
    assert (other.precision, other.prepare.place, other.calibration) == ("fp32", "host", None)
    numbers = agreement_on(pictures_of(Input(), 2, 0), other, plan.models[0])
    assert [output.max_abs for output in numbers.outputs] == [0.0]


def test_weights_that_lie_beside_a_model_come_along(tmp_path: Path) -> None:
    """Under the name that the model has for them; two models that want one name for others are told."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = save(tmp_path / "a" / "one.onnx", {"x": [1, 4]}, beside=True)
    assert export(one, tmp_path / "out", to="onnx").files == ("one.onnx", "weights.bin", "plan.yaml")
    two = save(tmp_path / "b" / "two.onnx", {"x": [1, 8]}, weights=8, beside=True)
    with pytest.raises(UsageError, match=r"files of one name"):
        export([one, two], tmp_path / "both", to="onnx")


@pytest.mark.parametrize("to", ["onnx", "docker"])
def test_files_that_are_there_are_left_alone(to: str, tmp_path: Path) -> None:
    """Unless they may be written over."""
    export("builtin:classifier", tmp_path, to=to)
    with pytest.raises(StoreError, match="has that file already"):
        export("builtin:classifier", tmp_path, to=to)
    export("builtin:classifier", tmp_path, to=to, overwrite=True)


def test_an_image_has_all_that_its_file_names(tmp_path: Path) -> None:
    """Each file that is copied is in the folder; the plan names its models as they lie in the image."""
    made = export("builtin:classifier", tmp_path, to="docker")
    text = (tmp_path / "Dockerfile").read_text()
    copied = copied_by(text)
    assert copied == {*made.files} - {"Dockerfile"}
    assert load_plan(tmp_path / "plan.yaml").models[0].model == "classifier.onnx"
    assert "ARG BASE=python:3" in text
    assert "--gpus" not in text


@pytest.mark.parametrize(
    ("model", "extras"),
    [
        (ModelPlan(name="a", model="a.onnx", device="cuda"), "[mqtt,serve,cuda]"),
        (ModelPlan(name="a", model="a.onnx", backend="tensorrt"), "[mqtt,serve,cuda,tensorrt]"),
    ],
)
def test_a_plan_for_a_gpu_has_an_image_for_it(model: ModelPlan, extras: str) -> None:
    """CUDA's libraries, the extras of its backends, and ONNX Runtime's package for GPUs as the last one installed."""
    text = dockerfile(Plan(models=(model,)), "framepace.whl", ("plan.yaml", "a.onnx"))
    assert "ARG BASE=nvidia/cuda:" in text
    assert "--gpus all" in text
    assert extras in text
    assert text.index("uninstall --yes onnxruntime") < text.index("install --no-cache-dir onnxruntime-gpu")


def test_the_wheel_is_a_wheel() -> None:
    """Everything in it is in its record with its size, its commands are named, and it is always the same."""
    name, content = wheel()
    assert content == wheel()[1]
    path = Path(name)
    assert path.suffix == ".whl"
    with ZipFile(BytesIO(content)) as archive:
        names = archive.namelist()
        [record] = [name for name in names if name.endswith("RECORD")]
        lines = archive.read(record).decode().splitlines()
        [points] = [name for name in names if name.endswith("entry_points.txt")]
        assert "framepace = framepace.cli.main:main" in archive.read(points).decode()
        sizes = {line.split(",")[0]: line.split(",")[2] for line in lines}
        assert sizes == {item.filename: str(item.file_size) for item in archive.infolist()} | {record: ""}
    assert "framepace/openinference/inference.proto" in names
    assert not any("__pycache__" in name for name in names)


def test_the_versions_that_run_here_are_kept() -> None:
    """One per package, without what is built for one machine alone."""
    lines = constraints().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9.\-]+==[0-9][0-9A-Za-z.]*", line) for line in lines)
    assert any(line.startswith("numpy==") for line in lines)


def copied_by(text: str) -> set[str]:
    """The files that a Dockerfile copies: names in a row, or as JSON where they may have spaces."""
    rows = re.findall(r"^COPY (.*)$", text, re.M)
    names = {name for row in rows for name in (json.loads(row) if row.startswith("[") else row.split())}
    return names - {"./"}


@pytest.mark.parametrize("name", ["a b", 'a"b', "Größe 摄", "-x"])
def test_an_image_takes_models_of_any_name(name: str) -> None:
    """Files with spaces are copied, and the image's own name is one that images have."""
    text = dockerfile(Plan(models=(ModelPlan(name=name, model="x.onnx"),)), "w.whl", ("plan.yaml", f"{name}.onnx"))
    assert f"{name}.onnx" in copied_by(text)
    [tag] = re.findall(r"docker build -t (.*) \.$", text, re.M)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", tag)


@pytest.mark.parametrize("name", ["../x", "a/b", ".", "..", "/x", "a\nRUN x", "n" * 250, "\\x"])
@pytest.mark.parametrize("to", ["triton", "onnx", "docker"])
def test_a_name_that_leads_elsewhere_is_not_written(to: str, name: str, tmp_path: Path) -> None:
    """A plan from elsewhere writes nothing outside the folder."""
    plan = Plan(models=(ModelPlan(name=name, model="builtin:classifier"),))
    with pytest.raises(UsageError, match="cannot be exported under this name"):
        export(plan, tmp_path / "there", to=to)
    assert not list(tmp_path.iterdir())


def test_two_models_in_one_folder_of_a_repository_are_told(tmp_path: Path) -> None:
    """A model that is called as the step of another one's ensemble."""
    models = tuple(ModelPlan(name=name, model="builtin:classifier") for name in ("a", "a_network"))
    with pytest.raises(UsageError, match="two models would lie in one folder"):
        export(Plan(models=models), tmp_path / "there")


@pytest.mark.parametrize("to", ["triton", "onnx", "docker"])
def test_a_file_where_a_folder_should_be_is_a_sentence(to: str, tmp_path: Path) -> None:
    """It says what to do."""
    (tmp_path / "there").write_text("mine")
    with pytest.raises(StoreError, match="cannot write") as told:
        export("builtin:classifier", tmp_path / "there", to=to)
    assert "what to do" in str(told.value)
    assert (tmp_path / "there").read_text() == "mine"
