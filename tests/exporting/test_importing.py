"""Repositories of Triton as plans: what was exported comes back, and what others wrote is read or told."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import onnx
import pytest

from framepace import api
from framepace.errors import UsageError
from framepace.exporting import pbtxt
from framepace.exporting.importing import import_triton
from framepace.exporting.repository import export
from framepace.models.builtin import model_bytes
from framepace.store import load_plan, save_plan
from tests.cli.test_cli import framepace

OTHERS = """
name: "boxes"
platform: "onnxruntime_onnx"
max_batch_size: 16
input [ { name: "images", data_type: TYPE_FP32, dims: [ 3, 384, 640 ] } ]
instance_group [ { count: 2 kind: KIND_GPU gpus: [ 1 ] rate_limiter { resources [ { name: "R" count: 1 } ] } } ]
dynamic_batching {
  preferred_batch_size: [ 4, 8 ]
  max_queue_delay_microseconds: 1500
  priority_levels: 3
  default_queue_policy { timeout_action: REJECT default_timeout_microseconds: 20000 }
}
response_cache { enable: true }
optimization { execution_accelerators { gpu_execution_accelerator : [ {
  name : "tensorrt" parameters { key: "precision_mode" value: "FP16" } } ] } }
parameters { key: "intra_op_thread_count" value: { string_value: "3" } }
"""


def repository(folder: Path, text: str, name: str = "boxes") -> Path:
    """A repository of one model with that configuration."""
    version = folder / "repository" / name / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(model_bytes("detector"))
    (version.parent / "config.pbtxt").write_text(text)
    return folder / "repository"


SETTINGS: dict[str, Any] = {
    "batch": 4, "window-ms": 3, "batch-sizes": "2+4", "threads": 2, "workers": 3, "stale-ms": 20, "drop": "oldest",
    "resize": "letterbox", "colour": "bgr", "pad-value": 7, "spinning": "off", "option.optimisation": "basic",
}  # fmt: skip


def test_what_was_exported_comes_back(tmp_path: Path) -> None:
    """Every setting that is expressed is read again."""
    case = api.make_case("builtin:classifier", fps=30, settings=SETTINGS)
    export(case.plan, tmp_path, runtime="python")
    plan = import_triton(tmp_path).plan
    assert not import_triton(tmp_path).notes
    [before], [after] = case.plan.models, plan.models
    assert (after.batch, after.threads, after.spinning, after.options) == (
        before.batch, before.threads, before.spinning, before.options,
    )  # fmt: skip
    assert (after.prepare.resize, after.prepare.colour, after.prepare.pad_value) == ("letterbox", "bgr", 7)
    assert after.prepare.std == pytest.approx((255.0,) * 3)
    assert (plan.engine.workers, plan.source.stale_ms, plan.source.drop) == (3, 20, "oldest")


def test_what_others_wrote_is_a_plan_and_its_losses_are_told(tmp_path: Path) -> None:
    """Batches, devices, accelerators and patience are read; caches, priorities and rate limiters are named."""
    imported = import_triton(repository(tmp_path, OTHERS))
    [model] = imported.plan.models
    assert (model.batch.max, model.batch.window_ms, model.batch.sizes) == (16, 1.5, (4, 8))
    assert (model.backend, model.precision, model.device, model.threads) == ("tensorrt", "fp16", "cuda:1", 3)
    assert imported.plan.engine.workers == 2
    assert imported.plan.source.stale_ms == 20
    told = " ".join(imported.notes)
    assert all(word in told for word in ("response_cache", "priority_levels", "rate_limiter"))


def test_a_folder_or_a_file_will_do(tmp_path: Path) -> None:
    """The model's folder and its config.pbtxt say the same as the repository."""
    whole = repository(tmp_path, OTHERS)
    assert import_triton(whole / "boxes") == import_triton(whole) == import_triton(whole / "boxes" / "config.pbtxt")


@pytest.mark.parametrize(
    "text",
    [
        'max_batch_size: "many"',
        "dynamic_batching: 5",
        "instance_group: 3",
        "parameters: [1, 2]",
        "optimization: TRUE",
        'instance_group { count: "x" }',
        "dynamic_batching { max_queue_delay_microseconds: -5 }",
        "max_batch_size: 9999999999",
        'parameters { key: "intra_op_thread_count" value { string_value: "999999" } }',
        "name: 5",
        'name: ""',
        "instance_group { count: 1e999 }",
        "instance_group { count: 1000000000 }",
        "max_batch_size: " + "9" * 5000,
        "dynamic_batching { max_queue_delay_microseconds: " + "9" * 400 + " }",
        "dynamic_batching { default_queue_policy { default_timeout_microseconds: -5 } }",
        'default_model_filename: "' + "a" * 5000 + '.onnx"',
        'backend: "python" parameters { key: "prepare" value { string_value: "' + "[" * 100_000 + '" } }',
        "{",
        "input: 5",
    ],
)
def test_what_no_configuration_says_is_read_or_a_sentence(tmp_path: Path, text: str) -> None:
    """Fields of other types, and numbers that nothing can have; what is read is a plan that loads."""
    with suppress(UsageError):
        save_plan(import_triton(repository(tmp_path, text)).plan, tmp_path / "plan.yaml")
        assert load_plan(tmp_path / "plan.yaml").models


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "instance_group { count: 2 gpus: [0, 1] kind: KIND_GPU }",
            "instances on GPUs 0, 1: a model of a plan has one",
        ),
        ("instance_group [ { kind: KIND_GPU }, { kind: KIND_CPU } ]", "instances of KIND_CPU and KIND_GPU"),
        ("instance_group { count: 1 passive: true }", "instance_group.passive is left out"),
        ("dynamic_batching { default_queue_policy { max_queue_size: 8 } }", "max_queue_size is left out"),
        (
            "dynamic_batching { default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 9 } }",
            "timeout_action DELAY is left out",
        ),
        ("optimization { priority: PRIORITY_MAX }", "optimization.priority is left out"),
        (
            'optimization { execution_accelerators { cpu_execution_accelerator { name: "openvino" } } }',
            "cpu_execution_accelerator is left out",
        ),
        (
            'optimization { execution_accelerators { gpu_execution_accelerator { name: "auto_io_binding" } } }',
            "the accelerator auto_io_binding is left out",
        ),
        (
            'optimization { execution_accelerators { gpu_execution_accelerator { name: "tensorrt" '
            'parameters { key: "max_workspace_size_bytes" value: "9" } } } }',
            "parameters of the accelerator tensorrt are left out: max_workspace_size_bytes",
        ),
        ('parameters { key: "mine" value { string_value: "1" } }', "parameters are left out: mine"),
        ('input { name: "x" dims: [ 4 ] optional: true }', "input.optional is left out"),
        ('input { name: "x" dims: [ 4 ] reshape { shape: [ 2, 2 ] } }', "input.reshape is left out (the plan has the"),
        ('output { name: "y" dims: [ 4 ] label_filename: "n.txt" }', "label_filename is left out (names of classes"),
        (
            "optimization { graph { level: 1 } execution_accelerators { "
            'gpu_execution_accelerator { name: "tensorrt" } } }',
            "options of ONNX Runtime are left out, for tensorrt runs it: optimisation",
        ),
        ("sequence_batching { }", "sequence_batching is left out"),
    ],
)
def test_a_setting_that_a_plan_cannot_say_is_told_however_deep_it_is(tmp_path: Path, text: str, told: str) -> None:
    """Whatever is not read is named, by the names that lead to it."""
    [note] = import_triton(repository(tmp_path, text)).notes
    assert note.startswith("boxes: ")
    assert told in note


def test_what_says_its_default_is_no_loss(tmp_path: Path) -> None:
    """A cache that is off, an order that is not asked for."""
    text = "response_cache { enable: false } dynamic_batching { preserve_ordering: false }"
    assert not import_triton(repository(tmp_path, text)).notes


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ('max_batch_size: 8 input { name: "a" dims: [ 3, 8, 9 ] }', {"a": (1, 3, 8, 9)}),
        ('input [ { name: "a" dims: [ 2, 3 ] }, { name: "b" dims: 5 } ]', {"a": (2, 3), "b": (5,)}),
        ('max_batch_size: 2 input { name: "a" dims: [ 12 ] reshape { shape: [ 3, 4 ] } }', {"a": (1, 3, 4)}),
        ('max_batch_size: 2 input { name: "a" dims: [ 1 ] reshape { shape: [ ] } }', {"a": (1,)}),
        ("max_batch_size: 2", {}),
    ],
)
def test_closed_shapes_are_those_of_the_plan(tmp_path: Path, text: str, shapes: dict[str, tuple[int, ...]]) -> None:
    """With the server's batch before them: a file that leaves sizes open runs as the server runs it."""
    assert import_triton(repository(tmp_path, text)).plan.models[0].shapes == shapes


@pytest.mark.parametrize(
    ("text", "shapes", "told"),
    [
        ('input { name: "a" dims: [ -1, 3, 8, 9 ] }', {"a": (1, 3, 8, 9)}, "first size of a (?x3x8x9) is taken for a"),
        (
            'max_batch_size: 4 input { name: "a" dims: [ 3, -1, 9 ] }',
            {},
            "open sizes of a (3x?x9) are those of",
        ),
        ('input { name: "a" dims: [ -1 ] }', {}, "open sizes of a (?) are those of the file"),
    ],
)
def test_open_sizes_are_told(tmp_path: Path, text: str, shapes: dict[str, tuple[int, ...]], told: str) -> None:
    """What is taken for them: one frame for a batch, else what the file says."""
    imported = import_triton(repository(tmp_path, text))
    assert imported.plan.models[0].shapes == shapes
    [note] = imported.notes
    assert told in note


def test_pictures_of_their_own_size_come_back(tmp_path: Path) -> None:
    """Nothing is resized there, and the network's input is open; the plan is the same."""
    value = onnx.helper.make_tensor_value_info
    axes = ["batch", 3, "height", "width"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value("x", 1, axes)], [value("y", 1, axes)]
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), tmp_path / "relu.onnx")
    case = api.make_case(str(tmp_path / "relu.onnx"), settings={"size": "native", "batch": 2})
    export(case.plan, tmp_path / "r")
    network, prepare = (
        pbtxt.loads((tmp_path / f"r/relu_{part}/config.pbtxt").read_text()) for part in ("network", "prepare")
    )
    assert network["input"]["dims"] == prepare["output"]["dims"] == [3, -1, -1]
    assert json.loads(pbtxt.keyed(prepare, "parameters")["prepare"])["size"] is None
    imported = import_triton(tmp_path / "r")
    assert imported.plan.models[0].size == "native"
    assert not imported.notes


def test_options_of_the_cuda_provider_are_read_where_the_server_takes_them(tmp_path: Path) -> None:
    """As an accelerator's parameters, by their names, and as the model's own, by their numbers."""
    pairs = {"cudnn_conv_algo_search": "1", "gpu_mem_limit": str(1 << 30)}
    text = "".join(
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }} ' for key, value in pairs.items()
    )
    imported = import_triton(repository(tmp_path, text))
    assert imported.plan.models[0].options == {"algorithms": "heuristic", "memory_mb": 1024}
    assert not imported.notes


def test_the_device_is_the_servers_choice_where_no_kind_is_named(tmp_path: Path) -> None:
    """KIND_AUTO is a GPU where there is one: the plan names none either."""
    assert import_triton(repository(tmp_path, "instance_group { count: 2 }")).plan.models[0].device is None


def test_a_version_that_is_not_served_is_not_the_plans(tmp_path: Path) -> None:
    """Of the versions that a policy names, the newest."""
    whole = repository(tmp_path, "version_policy { specific { versions: [ 1 ] } }")
    (whole / "boxes" / "2").mkdir()
    (whole / "boxes" / "2" / "model.onnx").write_bytes(b"newer")
    assert import_triton(whole).plan.models[0].model.endswith("1/model.onnx")


def test_nothing_there_is_a_sentence(tmp_path: Path) -> None:
    """No configuration, or none with a network."""
    with pytest.raises(UsageError, match="no configuration of Triton"):
        import_triton(tmp_path)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "config.pbtxt").write_text('name: "x" backend: "python"')
    with pytest.raises(UsageError, match="no model there that a plan could run"):
        import_triton(tmp_path)


def test_the_command_writes_a_plan_that_loads(tmp_path: Path) -> None:
    """With the losses as comments at its top; another file is not replaced."""
    out = tmp_path / "plan.yaml"
    command = ("plan", "from-triton", repository(tmp_path, OTHERS), "--out", out)
    assert framepace(*command).returncode == 0
    assert load_plan(out).models[0].name == "boxes"
    assert "# boxes: response_cache is left out" in out.read_text()
    out.write_text("mine")
    ended = framepace(*command)
    assert ended.returncode == 2
    assert "another file is already there" in ended.stderr
