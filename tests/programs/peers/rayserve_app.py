"""A model behind Ray Serve, two replicas: `python rayserve_app.py MODEL PORT`."""

import os
import sys
import time

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import numpy as np
import onnxruntime as ort
import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response


@serve.deployment(num_replicas=2, max_ongoing_requests=32, ray_actor_options={"num_cpus": 0.5})
class Classifier:
    """Raw input to raw output."""

    def __init__(self, model: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(model, options)
        self.input = self.session.get_inputs()[0]

    async def __call__(self, request: Request) -> Response:
        """One inference."""
        picture = np.frombuffer(await request.body(), np.float32).reshape(1, *self.input.shape[1:])
        output = self.session.run(None, {self.input.name: picture})[0]
        return Response(output.tobytes(), media_type="application/octet-stream")


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[2])})
    serve.run(Classifier.bind(os.path.abspath(sys.argv[1])), route_prefix="/")
    while True:
        time.sleep(1)
