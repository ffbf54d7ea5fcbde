"""The input of a model. Ill: normalised row by row in Python with lists; healthy: in one blob."""

import sys

import cv2
import numpy as np
import onnxruntime

video, model, form = sys.argv[1:4]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def prepared(picture: np.ndarray) -> np.ndarray:
    """A picture as the model's input."""
    small = cv2.resize(picture, (320, 192))
    if form == "healthy":
        return cv2.dnn.blobFromImage(small, 1 / 255, swapRB=True)
    rows = [[[value / 255 for value in pixel] for pixel in row] for row in small.tolist()]
    return np.array(rows, np.float32).transpose(2, 0, 1)[None]


capture = cv2.VideoCapture(video)
for _ in range(60):
    found, picture = capture.read()
    if not found:
        break
    session.run(None, {session.get_inputs()[0].name: prepared(picture)})
