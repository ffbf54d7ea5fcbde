"""A list that two threads share. Ill: the other thread writes it to a slow place while it holds the lock."""

import sys
import threading
import time

import av
import numpy as np
import onnxruntime

video, model, form = sys.argv[1:4]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
lock = threading.Lock()
results = []


def upload() -> None:
    """Hand the results on, for ever."""
    while True:
        with lock:
            batch = results[:]
            results.clear()
            if form == "ill":
                time.sleep(0.03)
        if form == "healthy":
            time.sleep(0.03)
        time.sleep(0.0005 * min(1, len(batch)))


threading.Thread(target=upload, daemon=True).start()
with av.open(video) as container:
    for number, frame in enumerate(container.decode(video=0)):
        if number == 80:
            break
        picture = frame.to_ndarray(width=640, height=384, format="rgb24")
        pixels = picture.transpose(2, 0, 1)[None].astype(np.float32)
        scores = session.run(None, {session.get_inputs()[0].name: pixels})[0]
        with lock:
            results.append(float(scores.max()))
