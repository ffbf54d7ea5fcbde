"""A file, as fast as it goes. Ill: the session has far more threads than there are cores."""

import sys

import cv2
import onnxruntime

video, model, form = sys.argv[1:4]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1 if form == "healthy" else 8
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
capture = cv2.VideoCapture(video)
for _ in range(50):
    found, picture = capture.read()
    if not found:
        break
    blob = cv2.dnn.blobFromImage(picture, 1 / 255, (320, 192), swapRB=True)
    session.run(None, {session.get_inputs()[0].name: blob})
