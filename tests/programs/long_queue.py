"""A reader thread and a queue. Ill: as long as it gets, and the reader does not wait; healthy: the camera's pace."""

import queue
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
frames = queue.Queue()


def read() -> None:
    """Decode into the queue."""
    with av.open(video) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == 40:
                break
            frames.put(frame.to_ndarray(width=640, height=384, format="rgb24"))
            if form == "healthy":
                time.sleep(0.1)
    frames.put(None)


threading.Thread(target=read, daemon=True).start()
while (picture := frames.get()) is not None:
    pixels = picture.transpose(2, 0, 1)[None].astype(np.float32)
    session.run(None, {session.get_inputs()[0].name: pixels})
