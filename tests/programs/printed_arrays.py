"""A debug print that was left in. Ill: whole outputs; healthy: one number."""

import sys

import av
import numpy as np
import onnxruntime

video, model, form = sys.argv[1:4]
np.set_printoptions(threshold=sys.maxsize)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
with av.open(video) as container:
    for number, frame in enumerate(container.decode(video=0)):
        if number == 60:
            break
        picture = frame.to_ndarray(width=640, height=384, format="rgb24")
        pixels = picture.transpose(2, 0, 1)[None].astype(np.float32)
        outputs = session.run(None, {session.get_inputs()[0].name: pixels})
        print(outputs[0].max() if form == "healthy" else outputs[2])
