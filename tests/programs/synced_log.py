"""A line per frame in a log. Ill: on the disk each time, with everything before it; healthy: as the system likes."""

import json
import os
import sys
import tempfile

import av
import numpy as np
import onnxruntime

video, model, form = sys.argv[1:4]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
results = []
with av.open(video) as container, tempfile.TemporaryDirectory() as folder:
    for number, frame in enumerate(container.decode(video=0)):
        if number == 60:
            break
        picture = frame.to_ndarray(width=640, height=384, format="rgb24")
        pixels = picture.transpose(2, 0, 1)[None].astype(np.float32)
        scores = session.run(None, {session.get_inputs()[0].name: pixels})[0]
        results.append(scores.ravel()[:1000].tolist())
        with open(f"{folder}/log.json", "w") as file:
            json.dump(results if form == "ill" else results[-1][:10], file)
            if form == "ill":
                os.fsync(file.fileno())
