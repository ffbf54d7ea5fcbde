"""A process per model. Ill: each session has as many threads as people think a server has cores."""

import multiprocessing
import sys

import av
import numpy as np
import onnxruntime


def run(video: str, model: str, form: str) -> None:
    """Decode and infer one video."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1 if form == "healthy" else 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    with av.open(video) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == 40:
                break
            picture = frame.to_ndarray(width=320, height=192, format="rgb24")
            pixels = picture.transpose(2, 0, 1)[None].astype(np.float32)
            session.run(None, {session.get_inputs()[0].name: pixels})


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=run, args=sys.argv[1:4]) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
