"""A thread per model, each with its own video. Ill: sessions as they come, whose threads spin against each other."""

import sys
import threading

import av
import numpy as np
import onnxruntime

video, model, form = sys.argv[1:4]


def run() -> None:
    """Decode and infer one video."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1 if form == "healthy" else 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    with av.open(video) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == 40:
                break
            picture = frame.to_ndarray(width=320, height=192, format="rgb24")
            pixels = picture.transpose(2, 0, 1)[None].astype(np.float32)
            session.run(None, {session.get_inputs()[0].name: pixels})


threads = [threading.Thread(target=run) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
