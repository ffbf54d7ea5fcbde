"""A tracker. Ill: compares each box with the whole history, in Python; healthy: with the last ones."""

import sys

import av
import numpy as np
import onnxruntime

video, model, form = sys.argv[1:4]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
history = []


def nearest(x: float, y: float) -> float:
    """The distance to the nearest earlier box."""
    past = history[-10:] if form == "healthy" else history
    return min((abs(x - a) + abs(y - b) for a, b in past), default=0.0)


with av.open(video) as container:
    for number, frame in enumerate(container.decode(video=0)):
        if number == 80:
            break
        picture = frame.to_ndarray(width=640, height=384, format="rgb24")
        pixels = picture.transpose(2, 0, 1)[None].astype(np.float32)
        scores = session.run(None, {session.get_inputs()[0].name: pixels})[0].ravel()
        for x, y in scores[:240].reshape(-1, 2).tolist():
            nearest(x, y)
            history.append((x, y))
