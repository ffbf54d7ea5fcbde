"""Pacing for 25 frames per second. Ill: sleeps a whole period after the work; healthy: what is left of it."""

import sys
import time

import av
import numpy as np
import onnxruntime

video, model, form = sys.argv[1:4]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
with av.open(video) as container:
    due = time.perf_counter()
    for number, frame in enumerate(container.decode(video=0)):
        if number == 60:
            break
        picture = frame.to_ndarray(width=640, height=384, format="rgb24")
        pixels = picture.transpose(2, 0, 1)[None].astype(np.float32)
        session.run(None, {session.get_inputs()[0].name: pixels})
        due += 0.04
        time.sleep(0.04 if form == "ill" else max(0.0, due - time.perf_counter()))
