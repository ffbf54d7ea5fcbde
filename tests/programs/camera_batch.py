"""Four cameras and one batch. Ill: each picture is scaled by Lanczos in full before it is cut to size."""

import sys

import cv2
import numpy as np
import onnxruntime

video, model, form = sys.argv[1:4]
cv2.setNumThreads(1)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
cameras = [cv2.VideoCapture(video) for _ in range(4)]
for _ in range(40):
    pictures = [camera.read()[1] for camera in cameras]
    if any(picture is None for picture in pictures):
        break
    if form == "ill":
        pictures = [cv2.resize(p, (1920, 1152), interpolation=cv2.INTER_LANCZOS4) for p in pictures]
    blob = cv2.dnn.blobFromImages(pictures, 1 / 255, (640, 384), swapRB=True)
    session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(blob)})
