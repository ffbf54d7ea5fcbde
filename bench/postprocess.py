"""Whose answers post-processing agrees with: other people's packages on the same outputs of the same networks.

    python bench/postprocess.py             every part whose package is installed
    python bench/postprocess.py --part ultralytics
    python bench/postprocess.py --cost      CPU time per frame, with this package alone

Needs an environment of its own: torchvision, ultralytics, transformers, rapidocr, nudenet, ddddocr, opencv, each where
its part shall run. Networks of nudenet, ddddocr and rapidocr travel in their packages; those of ultralytics,
torchvision and transformers are made here with random weights, so that their answers mean nothing and are many.
"""

from __future__ import annotations

import argparse
import inspect
import io
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from postprocess_made import torchvision, transformers, ultralytics
from postprocess_rows import SIZE, Row, family_of, same_boxes

from framepace.facts.answers import Detections, Text
from framepace.facts.postprocess import Post
from framepace.postprocess import tables, yolo
from framepace.postprocess.boxes import nms
from framepace.postprocess.network import Network, View, cells
from framepace.postprocess.reader import Reader


def suppression() -> Iterator[Row]:
    """torchvision.ops on random boxes, alone and behind the tables of YOLO 5 and SSD."""
    import torch
    from torchvision.ops import batched_nms

    rng = np.random.default_rng(0)
    same = 0
    for _ in range(200):
        count = int(rng.integers(1, 600))
        corners = rng.uniform(0, 300, (count, 4)).astype(np.float32)
        boxes = np.concatenate(
            [np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], 1
        )
        scores = (rng.integers(0, 300, count) / 300).astype(np.float32)
        labels = rng.integers(0, 5, count)
        threshold = float(rng.uniform(0.05, 0.95))
        theirs = batched_nms(*map(torch.from_numpy, (boxes, scores, labels)), threshold).tolist()
        same += nms(boxes, scores, threshold, labels, limit=count).tolist() == theirs
    yield Row("random boxes", "torchvision batched_nms", same, 200, 200, 0.0, "")

    same = 0
    for _ in range(30):
        table = rng.random((3 * cells(SIZE, (8, 16, 32)), 25), dtype=np.float32) ** 3
        table[:, :2] = rng.uniform(0, 320, (len(table), 2))
        table[:, 2:4] = rng.uniform(4, 120, (len(table), 2))
        found = yolo.read_5(View({"output": table}, SIZE), 0.25)
        scores = table[:, 5:] * table[:, 4:5]
        boxes = np.concatenate([table[:, :2] - table[:, 2:4] / 2, table[:, :2] + table[:, 2:4] / 2], axis=1)
        chosen = np.flatnonzero(scores.max(axis=1) > 0.25)
        tensors = (boxes[chosen], scores[chosen].max(axis=1), scores[chosen].argmax(axis=1))
        kept = batched_nms(*map(torch.from_numpy, tensors), 0.45).numpy()[:300]
        same += np.array_equal(found.scores[found.kept()], tensors[1][kept])
    yield Row("YOLO 5's table, random", "torchvision batched_nms", same, 30, 30, 0.0, "yolo5")

    same = 0
    for _ in range(30):
        logits = rng.normal(0, 2, (2000, 21)).astype(np.float32) + np.eye(1, 21, dtype=np.float32) * 7
        scores = torch.softmax(torch.from_numpy(logits), -1).numpy()
        low = rng.random((2000, 2), dtype=np.float32) * 0.8
        boxes = np.concatenate([low, low + 0.2], axis=1)
        found = tables.read_ssd(View({"scores": scores, "boxes": boxes}, (300, 300)), 0.25)
        rows, labels = np.nonzero(scores[:, 1:] > 0.25)
        tensors = (boxes[rows] * 300, scores[rows, labels + 1], labels)
        kept = batched_nms(*map(torch.from_numpy, tensors), 0.45).numpy()[:300]
        same += np.array_equal(found.labels[found.kept()], labels[kept] + 1)
    yield Row("SSD's tables, random", "torchvision batched_nms", same, 30, 30, 0.0, "ssd")


def nudenet() -> Iterator[Row]:
    """Its own `_postprocess` on pictures of its own preparation; its suppression knows no classes."""
    import cv2  # noqa: F401 - its code uses it
    import nudenet.nudenet as package
    import onnx
    import onnxruntime

    path = Path(package.__file__).parent / "320n.onnx"
    session = onnxruntime.InferenceSession(path)
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    least = 0.05
    source = inspect.getsource(package._postprocess).replace("0.2:", f"{least}:").replace("0.25,", f"{least},")
    scope = {**vars(package)}
    exec(source, scope)
    same = ours = theirs = 0
    reader = Reader(Post(score=least, iou=0.45), Network("320n", (320, 320), "stretch", metadata))
    for picture in video_pictures():
        blob, x_ratio, y_ratio, x_pad, y_pad, width, height = package._read_image(picture, 320)
        outputs = session.run(None, {"images": blob})
        answer = reader({"output0": outputs[0]}, (height + y_pad, width + x_pad))
        assert isinstance(answer, Detections)
        found = scope["_postprocess"](outputs, x_pad, y_pad, x_ratio, y_ratio, width, height, 320, 320)
        names = [answer.names[label] for label in answer.labels]
        for one in found:
            left, top = one["box"][:2]
            alike = (np.array(names) == one["class"]) & (np.abs(answer.scores - one["score"]) < 1e-5)
            near = np.abs(answer.boxes[:, :2] - (left, top)).max(axis=1, initial=0) <= 1.01
            same += bool((alike & near).any())
        theirs += len(found)
        ours += len(answer)
    yield Row("320n of nudenet (YOLO 8)", "nudenet", same, ours, theirs, 1.0, family_of(reader))


def video_pictures() -> list[NDArray[Any]]:
    """Pictures of the development data, BGR."""
    import av

    data = Path(__file__).parent.parent / ".data"
    pictures: list[NDArray[Any]] = []
    for name in ("bikes.mp4", "bigbuckbunny.mp4"):
        with av.open(str(data / name)) as container:
            frames = [frame for number, frame in enumerate(container.decode(video=0)) if number % 30 == 0]
            pictures += [frame.to_ndarray(format="bgr24") for frame in frames]
    return pictures


def drawn_texts() -> Iterator[tuple[str, NDArray[Any]]]:
    """Texts as pictures of 48 x 320."""
    import cv2

    rng = np.random.default_rng(0)
    for _ in range(25):
        text = "".join(rng.choice(list("ABCDEFGHJKLMNPRSTUVWXYZ0123456789abcdefgh-. "), int(rng.integers(3, 12))))
        picture = np.full((48, 320, 3), 255, np.uint8)
        cv2.putText(picture, text, (6, 33), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (0, 0, 0), 2)
        yield text, picture


def rapidocr() -> Iterator[Row]:
    """Its CTCLabelDecode."""
    import onnx
    import onnxruntime
    import rapidocr as package
    from rapidocr.ch_ppocr_rec.utils import CTCLabelDecode

    data = Path(__file__).parent.parent / ".data"
    newest = Path(package.__file__).parent / "models" / "PP-OCRv6_rec_small.onnx"
    for name, path in (("PP-OCRv4 recogniser", data / "recogniser.onnx"), ("PP-OCRv6 recogniser", newest)):
        metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        decode = CTCLabelDecode(character=metadata["character"].splitlines())
        session = onnxruntime.InferenceSession(path)
        reader = Reader(Post(), Network(name, (48, 320), "stretch", metadata))
        same = 0
        worst = 0.0
        for _, picture in drawn_texts():
            blob = ((picture.astype(np.float32) / 255 - 0.5) / 0.5).transpose(2, 0, 1)[None]
            output = session.run(None, {"x": blob})[0]
            text, score = decode(output.copy(), False)[0][0]
            answer = reader({"output": output}, (48, 320))
            assert isinstance(answer, Text)
            same += answer.text == text
            worst = max(worst, abs(answer.score - score))
        yield Row(name, "rapidocr", same, 25, 25, worst, family_of(reader))


def ddddocr() -> Iterator[Row]:
    """Its `classification` with both sets of characters, and its detector of characters (YOLOX)."""
    import cv2
    import ddddocr as package
    import onnxruntime
    from ddddocr import charsets
    from PIL import Image

    folder = Path(package.__file__).parent
    for beta, name, characters in (
        (False, "common_old.onnx", charsets.CHARSET_OLD),
        (True, "common.onnx", charsets.CHARSET_BETA),
    ):
        recogniser = package.DdddOcr(show_ad=False, beta=beta)
        session = onnxruntime.InferenceSession(folder / name)
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("".join(f"{one}\n" for one in characters))
            file.flush()
            reader = Reader(Post(names=file.name), Network(name, (64, 427)))
        same = 0
        for _, picture in drawn_texts():
            png = cv2.imencode(".png", picture)[1].tobytes()
            blob = recogniser.ocr_engine._preprocess_image(Image.open(io.BytesIO(png)), False)
            answer = reader({"387": session.run(None, {"input1": blob})[0]}, (64, 427))
            assert isinstance(answer, Text)
            same += answer.text == recogniser.classification(png)
        yield Row(f"{name} of ddddocr", "ddddocr", same, 25, 25, 0.0, family_of(reader))
    yield characters_found(folder)


def characters_found(folder: Path) -> Row:
    """Its detector of characters (YOLOX) on captchas that are drawn here; its suppression knows no classes."""
    import cv2
    import onnxruntime
    from ddddocr.core.detection_engine import DetectionEngine

    engine = DetectionEngine.__new__(DetectionEngine)
    session = onnxruntime.InferenceSession(folder / "common_det.onnx")
    engine.session = session
    rng = np.random.default_rng(0)
    reader = Reader(Post(score=0.1, iou=0.45), Network("common_det", (416, 416)))
    same = ours = theirs = 0
    worst = 0.0
    for _ in range(12):
        picture = rng.integers(120, 255, (200, 300, 3)).astype(np.uint8)
        for place in range(4):
            at = (20 + 70 * place, int(rng.integers(60, 180)))
            colour = tuple(int(one) for one in rng.integers(0, 110, 3))
            cv2.putText(picture, rng.choice(list("ABCDEFGHKM38")), at, cv2.FONT_HERSHEY_SIMPLEX, 1.8, colour, 4)
        blob, _ = engine.preproc(picture, (416, 416))
        output = session.run(None, {"images": blob[None]})[0]
        answer = reader({"output": output.copy()}, (416, 416))
        table = engine.demo_postprocess(output.copy(), (416, 416))[0]
        half = table[:, 2:4] / 2
        boxes = np.concatenate([table[:, :2] - half, table[:, :2] + half], axis=1)
        found = engine.multiclass_nms(boxes, table[:, 4:5] * table[:, 5:], 0.45, 0.1)
        if found is None:
            found = np.zeros((0, 6))
        count, away = same_boxes(answer, np.clip(found[:, :4], 0, 416), found[:, 4], found[:, 5].astype(int))
        same += count
        theirs += len(found)
        ours += len(answer)  # type: ignore[arg-type]
        worst = max(worst, away)
    return Row("common_det.onnx of ddddocr (YOLOX)", "ddddocr", same, ours, theirs, worst, family_of(reader))


PARTS: dict[str, tuple[Callable[[], Iterator[Row]], Sequence[str]]] = {
    "suppression": (suppression, ("torchvision",)),
    "ultralytics": (ultralytics, ("ultralytics",)),
    "torchvision": (torchvision, ("torchvision",)),
    "transformers": (transformers, ("transformers", "torchvision")),
    "nudenet": (nudenet, ("nudenet", "cv2")),
    "rapidocr": (rapidocr, ("rapidocr", "cv2")),
    "ddddocr": (ddddocr, ("ddddocr", "cv2")),
}


def cost() -> None:
    """CPU time of the calling thread per frame, for outputs as networks of common sizes give them; 60 boxes overlap."""
    rng = np.random.default_rng(0)
    columns = np.zeros((1, 84, 8400), np.float32)
    columns[0, :4] = rng.uniform(10, 600, (4, 8400))
    columns[0, 4:7, rng.choice(8400, 60)] = rng.uniform(0.3, 0.95, (60, 3))
    rows = np.zeros((1, 300, 6), np.float32)
    rows[0, :20] = np.column_stack(
        [rng.uniform((0, 0, 310, 310), (300, 300, 600, 600), (20, 4)), np.full(20, 0.8), range(20)]
    )
    objects = np.zeros((1, 25_200, 85), np.float32)
    objects[0, rng.choice(25_200, 60), 4:] = 0.8
    cases = {
        "YOLO 8, 640 x 640, 80 classes": columns,
        "YOLO 10, 300 rows": rows,
        "YOLO 5, 640 x 640, 80 classes": objects,
        "1000 classes": rng.normal(0, 1, (1, 1000)).astype(np.float32),
        "21 regions of 640 x 640 to 1920 x 1080": rng.normal(0, 1, (1, 21, 640, 640)).astype(np.float32),
    }
    for name, array in cases.items():
        read = Reader(Post(), Network(name, (640, 640), "letterbox"))
        times = []
        for _ in range(60):
            began = time.thread_time_ns()
            read({"out": array}, (1080, 1920))
            times.append(time.thread_time_ns() - began)
        print(f"| {name} | {np.median(times[1:]) / 1e6:.3g} ms | {family_of(read)} |", flush=True)


def main() -> int:
    """Print a table; 1 where an answer of a reference is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--cost", action="store_true")
    arguments = parser.parse_args()
    if arguments.cost:
        cost()
        return 0
    parts = arguments.part or list(PARTS)
    print("| network | reference | same | of | ours | largest difference | read as |\n|---|---|---|---|---|---|---|")
    is_whole = True
    for part in parts:
        run, packages = PARTS[part]
        missing = [package for package in packages if find_spec(package) is None]
        if missing:
            print(f"| {part} | not run: {', '.join(missing)} not installed | | | | | |", flush=True)
            continue
        for row in run():
            is_whole &= row.same == row.theirs
            numbers = f"{row.same} | {row.theirs} | {row.ours} | {row.difference:.2g}"
            print(f"| {row.network} | {row.reference} | {numbers} | {row.family} |", flush=True)
    return 0 if is_whole else 1


if __name__ == "__main__":
    sys.exit(main())
