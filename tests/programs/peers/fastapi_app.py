"""A model behind FastAPI, as the first page of a search shows it: `python fastapi_app.py MODEL PORT`."""

import sys

import numpy as np
import onnxruntime as ort
import uvicorn
from fastapi import FastAPI, Request, Response

app = FastAPI()
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options)
SHAPE = [1, *session.get_inputs()[0].shape[1:]]


def infer(body: bytes) -> bytes:
    """The raw output for a raw input."""
    picture = np.frombuffer(body, np.float32).reshape(SHAPE)
    return session.run(None, {session.get_inputs()[0].name: picture})[0].tobytes()


@app.post("/infer")
async def predict(request: Request) -> Response:
    """One inference, in a thread of the pool."""
    from fastapi.concurrency import run_in_threadpool

    return Response(await run_in_threadpool(infer, await request.body()), media_type="application/octet-stream")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
