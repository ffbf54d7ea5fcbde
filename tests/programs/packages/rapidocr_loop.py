"""A video through rapidocr, as its page shows it for a picture."""

import sys

import cv2
from rapidocr import RapidOCR

engine = RapidOCR()
capture = cv2.VideoCapture(sys.argv[1])
texts = 0
while True:
    ok, picture = capture.read()
    if not ok:
        break
    result = engine(picture)
    texts += len(result.txts or ())
print(texts, "texts")
