"""A model behind LitServe, two workers: `python litserve_app.py MODEL PORT`."""

import sys

import litserve as ls
import numpy as np
import onnxruntime as ort
from fastapi import Request, Response


class Classifier(ls.LitAPI):
    """Raw input to raw output."""

    def setup(self, device: str) -> None:
        """Load the model."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(sys.argv[1], options)
        self.input = self.session.get_inputs()[0]

    def decode_request(self, request: Request) -> np.ndarray:
        """The picture in the form: LitServe reads forms and JSON only."""
        return np.frombuffer(request["picture"].file.read(), np.float32).reshape(1, *self.input.shape[1:])

    def predict(self, picture: np.ndarray) -> np.ndarray:
        """One inference."""
        return self.session.run(None, {self.input.name: picture})[0]

    def encode_response(self, output: np.ndarray) -> Response:
        """The body of the answer."""
        return Response(output.tobytes(), media_type="application/octet-stream")


if __name__ == "__main__":
    server = ls.LitServer(Classifier(api_path="/infer"), accelerator="cpu", workers_per_device=2)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", generate_client_file=False)
