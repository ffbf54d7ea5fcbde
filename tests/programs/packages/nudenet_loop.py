"""A video through nudenet, as its page shows it for a picture."""

import sys

import cv2
from nudenet import NudeDetector

detector = NudeDetector()
capture = cv2.VideoCapture(sys.argv[1])
boxes = 0
while True:
    ok, picture = capture.read()
    if not ok:
        break
    boxes += len(detector.detect(picture))
print(boxes, "boxes")
