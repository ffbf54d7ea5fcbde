"""A thread that watches a flag. Ill: in a loop without a pause; healthy: it waits."""

import sys
import threading

import av
import numpy as np
import onnxruntime

video, model, form = sys.argv[1:4]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
stop = threading.Event()


def watch() -> None:
    """Until told to stop."""
    if form == "healthy":
        stop.wait()
    while not stop.is_set():
        pass


threading.Thread(target=watch, daemon=True).start()
with av.open(video) as container:
    for number, frame in enumerate(container.decode(video=0)):
        if number == 60:
            break
        picture = frame.to_ndarray(width=640, height=384, format="rgb24")
        pixels = picture.transpose(2, 0, 1)[None].astype(np.float32)
        session.run(None, {session.get_inputs()[0].name: pixels})
stop.set()
