"""Coroutines that hand pictures on. Ill: pixel values in a comprehension of Python; healthy: in NumPy."""

import asyncio
import sys

import av
import numpy as np
import onnxruntime

video, model, form = sys.argv[1:4]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def histogram(scores: np.ndarray) -> list[int]:
    """How often each tenth of the scores comes."""
    if form == "healthy":
        return np.histogram(scores, 10)[0].tolist()
    counts = [0] * 10
    for score in scores.ravel().tolist():
        counts[min(9, max(0, int(score * 10)))] += 1
    return counts


async def read(frames: asyncio.Queue) -> None:
    """Decode, one ahead."""
    with av.open(video) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == 50:
                break
            await frames.put(frame.to_ndarray(width=640, height=384, format="rgb24"))
    await frames.put(None)


async def infer(frames: asyncio.Queue) -> None:
    """One after the other."""
    while (picture := await frames.get()) is not None:
        pixels = picture.transpose(2, 0, 1)[None].astype(np.float32)
        scores = session.run(None, {session.get_inputs()[0].name: pixels})[0]
        histogram(scores)


async def main() -> None:
    """Both together."""
    frames = asyncio.Queue(maxsize=1)
    await asyncio.gather(read(frames), infer(frames))


asyncio.run(main())
