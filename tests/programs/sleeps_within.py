"""A loop with a pause 'to let the camera breathe'. Ill: between decoding and inference; healthy: after the frame."""

import sys
import time

import cv2
import onnxruntime

video, model, form = sys.argv[1:4]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
capture = cv2.VideoCapture(video)
for _ in range(50):
    found, picture = capture.read()
    if not found:
        break
    if form == "ill":
        time.sleep(0.03)
    blob = cv2.dnn.blobFromImage(picture, 1 / 255, (320, 192), swapRB=True)
    session.run(None, {session.get_inputs()[0].name: blob})
    if form == "healthy":
        time.sleep(0.03)
