"""A camera that never ends, at 25 frames per second. Ill: it collects garbage among 200,000 objects for each frame."""

import gc
import sys
import time

import av
import numpy as np
import onnxruntime

video, model, form = sys.argv[1:4]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
tracks = [{"id": number} for number in range(200_000)]
due = time.perf_counter()
while True:
    with av.open(video) as container:
        for frame in container.decode(video=0):
            picture = frame.to_ndarray(format="rgb24")
            pixels = picture[:64, :64].transpose(2, 0, 1)[None].astype(np.float32)
            session.run(None, {session.get_inputs()[0].name: pixels})
            if form == "ill":
                gc.collect()
            due += 0.04
            time.sleep(max(0.0, due - time.perf_counter()))
