"""A small model on a video. Ill: the video is four times as large as it needs to be; healthy: the small one."""

import sys

import av
import numpy as np
import onnxruntime

video, model, form = sys.argv[1:4]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
with av.open(video.replace("small", "large") if form == "ill" else video) as container:
    for number, frame in enumerate(container.decode(video=0)):
        if number == 40:
            break
        picture = frame.to_ndarray(format="rgb24")
        picture = np.ascontiguousarray(picture[:: picture.shape[0] // 384, :: picture.shape[1] // 640][:384, :640])
        pixels = picture.transpose(2, 0, 1)[None].astype(np.float32)
        session.run(None, {session.get_inputs()[0].name: pixels})
