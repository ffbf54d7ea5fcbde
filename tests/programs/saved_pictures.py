"""A sink. Ill: every picture is written as PNG on the thread that infers; healthy: its small picture, now and then."""

import sys
import tempfile

import cv2
import onnxruntime

video, model, form = sys.argv[1:4]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
capture = cv2.VideoCapture(video)
with tempfile.TemporaryDirectory() as folder:
    for number in range(60):
        found, picture = capture.read()
        if not found:
            break
        blob = cv2.dnn.blobFromImage(picture, 1 / 255, (640, 384), swapRB=True)
        session.run(None, {session.get_inputs()[0].name: blob})
        if form == "ill" or number % 40 == 0:
            cv2.imwrite(f"{folder}/{number}.png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 6])
