"""A network in ONNX Runtime on each picture of a camera that gives one 20 ms after the last answer.

python onnxruntime_loop.py MODEL.onnx cuda|cpu
"""

import contextlib
import sys
import time

import numpy as np
import onnxruntime

if sys.argv[2] == "cuda":
    with contextlib.suppress(AttributeError):
        onnxruntime.preload_dlls()
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
else:
    providers = ["CPUExecutionProvider"]
session = onnxruntime.InferenceSession(sys.argv[1], providers=providers)
name = session.get_inputs()[0].name
pixels = np.random.default_rng(0).random((1, 3, 192, 320), np.float32)
with contextlib.suppress(KeyboardInterrupt):
    while True:
        scores = session.run(None, {name: pixels})
        best = max(float(score.max()) for score in scores)
        time.sleep(0.02)
