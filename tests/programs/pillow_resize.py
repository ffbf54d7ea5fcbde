"""Pillow for the input. Ill: enlarged and reduced again with the best filter; healthy: reduced once."""

import sys

import av
import numpy as np
import onnxruntime
from PIL import Image

video, model, form = sys.argv[1:4]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
with av.open(video) as container:
    for number, frame in enumerate(container.decode(video=0)):
        if number == 50:
            break
        picture = frame.to_image()
        if form == "ill":
            picture = picture.resize((2240, 1344), Image.Resampling.LANCZOS)
        picture = picture.resize((640, 384), Image.Resampling.NEAREST)
        pixels = np.asarray(picture, np.float32).transpose(2, 0, 1)[None]
        session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(pixels)})
