"""A cache of small objects. Ill: millions of them, and each frame makes enough for whole collections."""

import gc
import sys

import av
import numpy as np
import onnxruntime

video, model, form = sys.argv[1:4]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
tracks = [{"id": number, "box": [number, 0]} for number in range(300_000)]
if form == "healthy":
    gc.freeze()
with av.open(video) as container:
    for number, frame in enumerate(container.decode(video=0)):
        if number == 120:
            break
        picture = frame.to_ndarray(width=640, height=384, format="rgb24")
        pixels = picture.transpose(2, 0, 1)[None].astype(np.float32)
        scores = session.run(None, {session.get_inputs()[0].name: pixels})[0]
        tracks[number] = {"id": number, "box": scores[0, 0].tolist()}
        if number % 4 == 0:
            gc.collect()
