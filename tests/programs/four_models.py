"""Several models on every picture: one after the other, a thread each, a process each, or coroutines.

python four_models.py VIDEO serial|threads|processes|coroutines MODEL.onnx@WIDTHxHEIGHT...
"""

import asyncio
import multiprocessing
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import onnxruntime


class Model:
    """A session and the size of its pictures."""

    def __init__(self, text: str) -> None:
        path, _, size = text.partition("@")
        self.size = tuple(map(int, size.split("x")))
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.name = self.session.get_inputs()[0].name

    def __call__(self, picture: np.ndarray) -> list:
        """What it answers."""
        small = cv2.resize(picture, self.size)
        return self.session.run(None, {self.name: small.transpose(2, 0, 1)[None].astype(np.float32) / 255})


def pictures(video: str) -> object:
    """All of them."""
    capture = cv2.VideoCapture(video)
    while True:
        found, picture = capture.read()
        if not found:
            return
        yield picture


def serial(video: str, texts: list[str]) -> None:
    """One model after the other."""
    models = [Model(text) for text in texts]
    for picture in pictures(video):
        for model in models:
            model(picture)


def threads(video: str, texts: list[str]) -> None:
    """A thread for each, and the slowest decides."""
    models = [Model(text) for text in texts]
    with ThreadPoolExecutor(len(models)) as pool:
        for picture in pictures(video):
            list(pool.map(Model.__call__, models, [picture] * len(models)))


def work(text: str, frames: multiprocessing.Queue, answers: multiprocessing.Queue) -> None:
    """One model in a process of its own."""
    model = Model(text)
    while (picture := frames.get()) is not None:
        model(picture)
        answers.put(text)


def processes(video: str, texts: list[str]) -> None:
    """A process for each, and every picture goes to all of them."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    queues = [context.Queue(2) for _ in texts]
    children = [context.Process(target=work, args=(texts[n], queues[n], answers)) for n in range(len(texts))]
    for child in children:
        child.start()
    for picture in [*pictures(video), None]:
        for queue in queues:
            queue.put(picture)
        for _ in texts if picture is not None else ():
            answers.get()
    for child in children:
        child.join()


async def _coroutines(video: str, texts: list[str]) -> None:
    models = [Model(text) for text in texts]
    for picture in pictures(video):
        await asyncio.gather(*(asyncio.to_thread(model, picture) for model in models))


def coroutines(video: str, texts: list[str]) -> None:
    """A coroutine for each, handed to threads."""
    asyncio.run(_coroutines(video, texts))


if __name__ == "__main__":
    {"serial": serial, "threads": threads, "processes": processes, "coroutines": coroutines}[sys.argv[2]](
        sys.argv[1], sys.argv[3:]
    )
