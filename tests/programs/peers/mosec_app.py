"""A model behind Mosec, two workers: `python mosec_app.py MODEL PORT`."""

import os
import sys

import numpy as np
import onnxruntime as ort
from mosec import Server, Worker

MODEL = os.environ.get("MODEL") or sys.argv[1]


class Classifier(Worker):
    """Raw input to raw output."""

    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(MODEL, options)
        self.input = self.session.get_inputs()[0]

    def deserialize(self, data: bytes) -> np.ndarray:
        """The picture in the body."""
        return np.frombuffer(data, np.float32).reshape(1, *self.input.shape[1:])

    def serialize(self, data: np.ndarray) -> bytes:
        """The body of the answer."""
        return data.tobytes()

    def forward(self, data: np.ndarray) -> np.ndarray:
        """One inference."""
        return self.session.run(None, {self.input.name: data})[0]


if __name__ == "__main__":
    port = sys.argv[2]
    os.environ["MODEL"] = MODEL
    sys.argv = [sys.argv[0], "--port", port, "--address", "127.0.0.1", "--path", f"/tmp/mosec-{port}"]
    server = Server()
    server.append_worker(Classifier, num=2)
    server.run()
