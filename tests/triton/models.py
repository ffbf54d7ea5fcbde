"""Triton's python models of the tests: any ONNX file through onnxruntime, and what shows how a server answers."""

from __future__ import annotations

from pathlib import Path

ONNX = """
import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb


class TritonPythonModel:
    def initialize(self, args):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        file = args["model_repository"] + "/" + args["model_version"] + "/model.onnx"
        self.session = ort.InferenceSession(file, options)
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.outputs = [value.name for value in self.session.get_outputs()]

    def execute(self, requests):
        taken = [[pb.get_input_tensor_by_name(r, name).as_numpy() for name in self.inputs] for r in requests]
        rows = [arrays[0].shape[0] for arrays in taken]
        joined = dict(zip(self.inputs, (np.concatenate(arrays) for arrays in zip(*taken))))
        results = self.session.run(self.outputs, joined)
        ends = np.cumsum(rows)[:-1]
        parts = zip(*(np.split(result, ends) for result in results))
        return [pb.InferenceResponse(self.tensors(part)) for part in parts]

    def tensors(self, values):
        pairs = zip(self.outputs, values)
        return [pb.Tensor(name, np.ascontiguousarray(value)) for name, value in pairs]
"""

IDENTITY = """
import triton_python_backend_utils as pb


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            pairs = [(t.name().replace("INPUT", "OUTPUT"), t) for t in request.inputs()]
            wanted = request.requested_output_names()
            tensors = [pb.Tensor(name, t.as_numpy()) for name, t in pairs if name in wanted]
            responses.append(pb.InferenceResponse(tensors))
        return responses
"""

ADD_SUB = """
import triton_python_backend_utils as pb


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            a = pb.get_input_tensor_by_name(request, "INPUT0").as_numpy()
            b = pb.get_input_tensor_by_name(request, "INPUT1").as_numpy()
            answers = {"OUTPUT0": a + b, "OUTPUT1": a - b}
            wanted = request.requested_output_names()
            tensors = [pb.Tensor(name, value) for name, value in answers.items() if name in wanted]
            responses.append(pb.InferenceResponse(tensors))
        return responses
"""


def write_model(
    repository: Path, name: str, configuration: str, program: str = ONNX, onnx: bytes | None = None
) -> None:
    """Write a model of the python backend into a repository; `configuration` is its config.pbtxt without the name."""
    version = repository / name / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(program)
    if onnx is not None:
        (version / "model.onnx").write_bytes(onnx)
    (repository / name / "config.pbtxt").write_text(f'name: "{name}"\nbackend: "python"\n{configuration}')
