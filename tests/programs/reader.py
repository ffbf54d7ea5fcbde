"""A reader thread, a queue and two models on the main thread."""

import queue
import sys
import threading

import av
import numpy as np
import onnxruntime

frames = queue.Queue(maxsize=2)


def read() -> None:
    """Decode into the queue."""
    with av.open(sys.argv[1]) as container:
        for frame in container.decode(video=0):
            frames.put(frame.to_ndarray(format="rgb24"))
    frames.put(None)


first, second = (onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]) for path in sys.argv[2:4])
threading.Thread(target=read, daemon=True).start()
while (picture := frames.get()) is not None:
    pixels = np.ascontiguousarray(picture[:64, :64].transpose(2, 0, 1)[None], dtype=np.float32)
    first.run(None, {first.get_inputs()[0].name: pixels})
    second.run(None, {second.get_inputs()[0].name: pixels})
