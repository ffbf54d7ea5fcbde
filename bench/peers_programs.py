"""The loops that `bench/run_peers.py` compares, each run by the Python of its own environment.

    python peers_programs.py PROGRAM MODEL SECONDS EPOCH FPS ADDRESS...

PROGRAM is framepace, ultralytics or inference. Prints one line of JSON: versions, and (time, camera, age in s) of every
picture whose result came within SECONDS after the first result of all cameras. How old a picture is says its number,
which it shows as black and white squares along its upper edge; it was sent at EPOCH + number / FPS.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

BITS = 10
SQUARE = 32  # pixels
SIDE = 192  # of the network's input
Row = tuple[float, int, float]
_FIRST_S = 45.0  # for the first results of all cameras
_ENDING_S = 5.0


class Ages:
    """Notes how old pictures are when their results are there; any thread may."""

    def __init__(self, seconds: float, epoch: float, fps: float, cameras: int) -> None:
        self.rows: list[Row] = []
        self._seconds = seconds
        self._epoch = epoch
        self._fps = fps
        self._missing = set(range(cameras))
        self._began = time.monotonic()
        self._all_at: float | None = None
        self.over = threading.Event()

    def add(self, camera: int, edge: Any) -> None:
        """Note a picture of which `edge` is the brightness along its upper edge [rows, columns]."""
        now = time.monotonic()
        bits = [edge[SQUARE // 2, SQUARE * bit + SQUARE // 2] > 128 for bit in range(BITS)]
        number = sum(1 << bit for bit, is_set in enumerate(bits) if is_set)
        sent = (now - self._epoch) * self._fps
        age = (sent - number) % (1 << BITS) / self._fps
        self._missing.discard(camera)
        if self._all_at is None and not self._missing:
            self._all_at = now
        if self._all_at is None:
            if now - self._began > _FIRST_S:
                self.over.set()
            return
        self.rows.append((now - self._all_at, camera, age))
        if now - self._all_at > self._seconds:
            self.over.set()


def run_framepace(model: str, addresses: Sequence[str], ages: Ages) -> dict[str, str]:
    """`framepace.start` with a function as its sink."""
    import framepace
    from framepace.facts.running import Result

    def take(result: Result) -> None:
        ages.add(int(result.source), result.picture[:SQUARE, : SQUARE * BITS, 1])

    settings = dict(part.split("=", 1) for part in os.environ["FRAMEPACE_SETTINGS"].split())
    sources = [f"{camera}={address}" for camera, address in enumerate(addresses)]
    run = framepace.start(model, sources, sinks=[take], settings={"size": f"{SIDE}x{SIDE}", **settings})
    ages.over.wait(_FIRST_S + ages._seconds + _ENDING_S)
    run.stop()
    run.wait(_ENDING_S)
    return {name: version(name) for name in ("framepace", "onnxruntime", "av")}


def run_ultralytics(model: str, addresses: Sequence[str], ages: Ages) -> dict[str, str]:
    """`YOLO.predict` on a list of streams, as its documentation shows it."""
    from ultralytics import YOLO

    list_of_streams = "cameras.streams"
    with open(list_of_streams, "w", encoding="utf-8") as file:
        file.write("\n".join(addresses))
    places = {address: camera for camera, address in enumerate(addresses)}
    results = YOLO(model, task="detect").predict(
        list_of_streams, stream=True, imgsz=SIDE, rect=False, verbose=False, device="cpu"
    )
    seen: dict[int, bytes] = {}
    for number, result in enumerate(results):
        camera = places.get(str(result.path), number % len(addresses))
        edge = result.orig_img[:SQUARE, : SQUARE * BITS, 1]
        code = edge[SQUARE // 2, SQUARE // 2 :: SQUARE].tobytes()
        if seen.get(camera) != code:  # the loop shows the last picture again where there is no newer one
            seen[camera] = code
            ages.add(camera, edge)
        if ages.over.is_set():
            break
    return {name: version(name) for name in ("ultralytics", "onnxruntime")}


def run_inference(model: str, addresses: Sequence[str], ages: Ages) -> dict[str, str]:
    """`InferencePipeline.init_with_custom_logic`: its cameras, buffers and dispatch around the same network."""
    import cv2
    import numpy as np
    import onnxruntime
    from inference import InferencePipeline

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def infer(frames: list[Any]) -> list[Any]:
        inputs = np.concatenate([_letterboxed(frame.image, cv2, np) for frame in frames])
        return list(session.run(None, {name: inputs})[0])

    def take(predictions: Any, frames: Any) -> None:
        for frame in frames if isinstance(frames, list) else [frames]:
            if frame is not None:
                ages.add(frame.source_id or 0, frame.image[:SQUARE, : SQUARE * BITS, 1])

    pipeline = InferencePipeline.init_with_custom_logic(list(addresses), infer, on_prediction=take)
    pipeline.start(use_main_thread=False)
    ages.over.wait(_FIRST_S + ages._seconds + _ENDING_S)
    pipeline.terminate()
    return {name: version(name) for name in ("inference", "onnxruntime")}


def _letterboxed(image: Any, cv2: Any, np: Any) -> Any:
    scale = SIDE / max(image.shape[:2])
    small = cv2.resize(image, (round(image.shape[1] * scale), round(image.shape[0] * scale)))
    square = np.full((SIDE, SIDE, 3), 114, np.uint8)
    square[: small.shape[0], : small.shape[1]] = small
    return square[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255


PROGRAMS: dict[str, Callable[[str, Sequence[str], Ages], dict[str, str]]] = {
    "framepace": run_framepace,
    "ultralytics": run_ultralytics,
    "inference": run_inference,
}


def main() -> None:
    """Run one and print what it saw; whatever its libraries print goes to standard error."""
    program, model, seconds, epoch, fps, *addresses = sys.argv[1:]
    ages = Ages(float(seconds), float(epoch), float(fps), len(addresses))
    with contextlib.redirect_stdout(sys.stderr):
        versions = PROGRAMS[program](model, addresses, ages)
    print(json.dumps({"versions": versions, "rows": ages.rows}), flush=True)
    os._exit(0)  # threads of cameras may never end


if __name__ == "__main__":
    main()
