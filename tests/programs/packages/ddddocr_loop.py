"""A part of each picture of a video through ddddocr, as its page shows it for a file."""

import sys

import cv2
import ddddocr

ocr = ddddocr.DdddOcr(show_ad=False)
capture = cv2.VideoCapture(sys.argv[1])
texts = []
while True:
    ok, picture = capture.read()
    if not ok:
        break
    encoded = cv2.imencode(".png", picture[100:164, 200:400])[1].tobytes()
    texts.append(ocr.classification(encoded))
print(len(texts), "texts")
