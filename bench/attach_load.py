"""A program of 30 frames per second and six timed calls per frame, which measures itself (`bench/attach_cost.py`).

Of the times of its frames it gives the tenth percentile, which neighbours on the cores hardly reach.
"""

import json
import sys
import time

import cv2
import onnxruntime

video, model, out, frames = sys.argv[1:5]
cv2.setNumThreads(1)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
capture = cv2.VideoCapture(video)
times = []
began = time.process_time()
due = time.perf_counter()
for _ in range(int(frames)):
    begin = time.perf_counter()
    found, picture = capture.read()
    small = cv2.resize(picture, (320, 192))
    small = cv2.cvtColor(small, cv2.COLOR_BGR2RGB)
    blob = cv2.dnn.blobFromImage(small, 1 / 255)
    session.run(None, {name: blob})
    times.append(time.perf_counter() - begin)
    due += 1 / 30
    time.sleep(max(0.0, due - time.perf_counter()))
used = time.process_time() - began
with open(out, "w") as file:
    json.dump({"frame": sorted(times)[len(times) // 10], "cpu": used / len(times)}, file)
