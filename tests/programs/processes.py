"""A process for each video."""

import multiprocessing
import sys

import av
import numpy as np
import onnxruntime


def run(video: str, model: str) -> None:
    """Decode and infer one video."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    with av.open(video) as container:
        for frame in container.decode(video=0):
            picture = frame.to_ndarray(format="rgb24")
            pixels = np.ascontiguousarray(picture[:64, :64].transpose(2, 0, 1)[None], dtype=np.float32)
            session.run(None, {name: pixels})


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[3])
    children = [context.Process(target=run, args=(sys.argv[1], sys.argv[2])) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
