"""The real Triton of the tests comes up and answers."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from tests.triton.models import ADD_SUB, write_model
from tests.triton.server import triton

SIMPLE = """max_batch_size: 8
input [{ name: "INPUT0" data_type: TYPE_INT32 dims: [16] }, { name: "INPUT1" data_type: TYPE_INT32 dims: [16] }]
output [{ name: "OUTPUT0" data_type: TYPE_INT32 dims: [16] }, { name: "OUTPUT1" data_type: TYPE_INT32 dims: [16] }]
"""


@pytest.mark.long
def test_triton_serves_a_model_that_a_test_wrote(tmp_path: Path) -> None:
    """A python model of a repository written here adds and subtracts."""
    write_model(tmp_path / "repository", "simple", SIMPLE, ADD_SUB)
    inputs = [{"name": f"INPUT{i}", "datatype": "INT32", "shape": [1, 16], "data": [i + 1] * 16} for i in range(2)]
    with triton(tmp_path / "repository") as server:
        request = urllib.request.Request(
            f"{server.url}/v2/models/simple/infer", json.dumps({"inputs": inputs}).encode()
        )
        with urllib.request.urlopen(request) as response:
            answer = json.load(response)
    assert {output["name"]: output["data"] for output in answer["outputs"]} == {
        "OUTPUT0": [3] * 16,
        "OUTPUT1": [-1] * 16,
    }
