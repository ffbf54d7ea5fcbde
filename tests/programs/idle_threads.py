"""A paced loop around a detector. Ill: the session's idle threads spin through the gaps."""

import sys
import time

import av
import numpy as np
import onnxruntime

video, model, form = sys.argv[1:4]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1 if form == "healthy" else 2
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
begin = time.perf_counter()
with av.open(video) as container:
    for number, frame in enumerate(container.decode(video=0)):
        if number == 90:
            break
        picture = frame.to_ndarray(width=320, height=192, format="rgb24")
        pixels = (picture.transpose(2, 0, 1)[None] / np.float32(255)).astype(np.float32)
        session.run(None, {session.get_inputs()[0].name: pixels})
        due = begin + (number + 1) / 40
        time.sleep(max(0.0, due - time.perf_counter()))
