"""Two small models for the attack on the server: one adds, one returns texts."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

TEXTS = (
    {"name": "T", "datatype": "BYTES", "shape": [1, 2], "data": ["a", "b"]},
    {"name": "T", "datatype": "BYTES", "shape": [1, 2], "data": ["\ud83d\ude00", "\u0000"]},
    {"name": "T", "datatype": "BYTES", "shape": [1, 2], "data": [1, 2]},
    {"name": "T", "datatype": "BYTES", "shape": [1, 2], "parameters": {"binary_data_size": 4}},
)


def write_models(folder: Path) -> str:
    """Write both, and a plan that serves them; its path."""
    _save(folder, "simple", TensorProto.FLOAT, 4, ("INPUT0", "INPUT1"))
    _save(folder, "texts", TensorProto.STRING, 2, ("T",))
    plan = folder / "plan.yaml"
    models = [
        f"- name: {name}\n  model: {folder / name}.onnx\n  threads: 1\n  batch: {{max: 4}}"
        for name in ("simple", "texts")
    ]
    plan.write_text("models:\n" + "\n".join(models) + "\n")
    return str(plan)


def _save(folder: Path, name: str, kind: int, size: int, inputs: tuple[str, ...]) -> None:
    values = [helper.make_tensor_value_info(text, kind, ["batch", size]) for text in inputs]
    outputs = [helper.make_tensor_value_info(f"OUTPUT{i}", kind, ["batch", size]) for i in range(len(inputs))]
    nodes = [helper.make_node("Identity", ["T"], ["OUTPUT0"])]
    if len(inputs) == 2:
        nodes = [helper.make_node(op, list(inputs), [f"OUTPUT{i}"]) for i, op in enumerate(("Add", "Sub"))]
    model = helper.make_model(
        helper.make_graph(nodes, name, values, outputs), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    onnx.save(model, str(folder / f"{name}.onnx"))
