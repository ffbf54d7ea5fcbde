"""A model behind BentoML, two workers: `python bentoml_app.py MODEL PORT`."""

import os
import sys

import bentoml
import numpy as np
import onnxruntime as ort


@bentoml.service(workers=2, traffic={"timeout": 60})
class Classifier:
    """Raw input to raw output."""

    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(os.environ["MODEL"], options)
        self.input = self.session.get_inputs()[0]

    @bentoml.api(route="/infer")
    def infer(self, body: bytes, /) -> bytes:
        """One inference."""
        picture = np.frombuffer(body, np.float32).reshape(1, *self.input.shape[1:])
        return self.session.run(None, {self.input.name: picture})[0].tobytes()


if __name__ == "__main__":
    os.environ["MODEL"] = os.path.abspath(sys.argv[1])
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    os.chdir(os.path.dirname(os.path.abspath(__file__)))
    command = ["bentoml", "serve", "bentoml_app:Classifier", "--host", "127.0.0.1", "--port", sys.argv[2]]
    os.execv(sys.executable, [sys.executable, "-m", *command])
