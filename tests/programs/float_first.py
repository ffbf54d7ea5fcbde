"""Normalising and shrinking. Ill: the whole picture in float64 first; healthy: shrunk first."""

import sys

import cv2
import numpy as np
import onnxruntime

video, model, form = sys.argv[1:4]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
mean = np.array([123.7, 116.3, 103.5])
capture = cv2.VideoCapture(video.replace("small", "medium"))
for _ in range(30):
    found, picture = capture.read()
    if not found:
        break
    if form == "healthy":
        picture = cv2.resize(picture, (320, 192))
    picture = (picture - mean) / 58.4
    picture = cv2.resize(picture, (320, 192)).astype(np.float32)
    session.run(None, {session.get_inputs()[0].name: picture.transpose(2, 0, 1)[None]})
