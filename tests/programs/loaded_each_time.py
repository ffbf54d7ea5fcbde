"""A function that infers. Ill: it makes the session each time."""

import functools
import sys

import av
import numpy as np
import onnxruntime

video, model, form = sys.argv[1:4]


def load() -> onnxruntime.InferenceSession:
    """The session."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


load = functools.cache(load) if form == "healthy" else load


def detect(picture: np.ndarray) -> np.ndarray:
    """The scores of a picture."""
    session = load()
    pixels = picture.transpose(2, 0, 1)[None].astype(np.float32)
    return session.run(None, {session.get_inputs()[0].name: pixels})[0]


with av.open(video) as container:
    for number, frame in enumerate(container.decode(video=0)):
        if number == 80:
            break
        detect(frame.to_ndarray(width=640, height=384, format="rgb24"))
