"""The boxes of a grid of scores. Ill: in loops of pure Python; healthy: in NumPy."""

import sys

import av
import numpy as np
import onnxruntime

video, model, form = sys.argv[1:4]


def boxes_in_python(scores: np.ndarray) -> list[tuple[int, int, float]]:
    """Every cell of every channel, one by one."""
    boxes = []
    for channel in range(scores.shape[0]):
        for row in range(scores.shape[1]):
            for column in range(scores.shape[2]):
                score = float(scores[channel, row, column])
                if score > 0.9:
                    boxes.append((row, column, score))
    return sorted(boxes, key=lambda box: -box[2])[:100]


def boxes_in_numpy(scores: np.ndarray) -> list[tuple[int, int, float]]:
    """The same from a mask."""
    flat = scores.ravel()
    best = np.argpartition(flat, -100)[-100:]
    best = best[flat[best] > 0.9]
    _, rows, columns = np.unravel_index(best, scores.shape)
    return list(zip(rows.tolist(), columns.tolist(), flat[best].tolist(), strict=True))


options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
boxes_of = boxes_in_numpy if form == "healthy" else boxes_in_python
with av.open(video) as container:
    for number, frame in enumerate(container.decode(video=0)):
        if number == 80:
            break
        picture = frame.to_ndarray(width=640, height=384, format="rgb24")
        pixels = picture.transpose(2, 0, 1)[None].astype(np.float32)
        scores = session.run(None, {session.get_inputs()[0].name: pixels})[0][0]
        boxes_of(scores)
