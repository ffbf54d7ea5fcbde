"""Every picture of a file. Ill: sought by its number each time; healthy: read on."""

import sys

import cv2
import onnxruntime

video, model, form = sys.argv[1:4]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
capture = cv2.VideoCapture(video)
for number in range(60):
    if form == "ill":
        capture.set(cv2.CAP_PROP_POS_FRAMES, number)
    found, picture = capture.read()
    if not found:
        break
    blob = cv2.dnn.blobFromImage(picture, 1 / 255, (640, 384), swapRB=True)
    session.run(None, {session.get_inputs()[0].name: blob})
