"""Post-processing of networks that are made with random weights: ultralytics, torchvision, transformers."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from postprocess_rows import PICTURE, SIZE, Row, family_of, same_boxes

from framepace.facts.answers import Classes, Detections, Regions
from framepace.facts.postprocess import Post
from framepace.postprocess.network import Network
from framepace.postprocess.reader import Reader

YOLO = (
    "yolov5n", "yolov8n", "yolov9t", "yolov10n", "yolo11n", "yolo12n", "yolo26n", "yolov8n-pose", "yolov8n-cls",
    "rtdetr-l", "yolov10n:end2end", "yolo26n:end2end", "yolo26n-pose:end2end", "yolov8n:nms", "yolov8n-pose:nms",
)  # fmt: skip
PICTURES = 5


def exported(name: str, folder: str) -> tuple[Any, dict[str, str]]:
    """An ultralytics network of random weights, opened again from its ONNX file, and the file's metadata."""
    import onnx
    import torch
    from ultralytics import RTDETR
    from ultralytics import YOLO as Yolo

    base, _, option = name.partition(":")
    torch.manual_seed(1)
    model = (RTDETR if base.startswith("rtdetr") else Yolo)(f"{base}.yaml")
    spread(model.model)
    by_option: dict[str, dict[str, Any]] = {
        "end2end": {"end2end": True},
        "nms": {"nms": True, "conf": 0.25, "iou": 0.7},
    }
    options = by_option.get(option, {})
    size = 224 if base.endswith("-cls") else SIZE
    here = os.getcwd()
    os.chdir(folder)
    try:
        path = Path(model.export(format="onnx", imgsz=size, opset=17, simplify=False, **options)).resolve()
    finally:
        os.chdir(here)
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    if base.startswith("rtdetr"):
        return RTDETR(path), metadata
    return Yolo(path, task=metadata["task"]), metadata


def spread(network: Any) -> None:
    """Make the scores of a network of random weights differ, and some of them high."""
    import torch

    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.05)
            module.running_var.uniform_(0.6, 1.2)
    for name, module in network.named_modules():
        parts = name.split(".")
        is_last = isinstance(module, torch.nn.Conv2d) and module.out_channels in (1, 80) and module.bias is not None
        if is_last and {"cv3", "one2one_cv3"} & set(parts):
            module.bias.data.normal_(-3.5 if module.out_channels > 1 else -0.5, 1.5)
            module.weight.data.mul_(6)
        if isinstance(module, torch.nn.Linear) and "dec_score_head" in parts:
            module.bias.data.normal_(-2, 1.5)


def ultralytics() -> Iterator[Row]:
    """What `predict` answers, from the same outputs."""
    os.environ["YOLO_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        for name in YOLO:
            with contextlib.redirect_stdout(io.StringIO()):
                model, metadata = exported(name, folder)
            yield compared(name, model, metadata)


def compared(name: str, model: Any, metadata: dict[str, str]) -> Row:
    """One network on random pictures."""
    outputs: list[Any] = []
    options = {"conf": 0.25, "iou": 0.7, "verbose": False}
    pictures = np.random.default_rng(0).integers(0, 255, (PICTURES, *PICTURE, 3), dtype=np.uint8)
    model.predict(pictures[0], **options)
    predictor = model.predictor
    theirs_of = predictor.postprocess

    def kept(outputs_of: Any, picture: Any, *rest: Any, **named: Any) -> Any:
        several = outputs_of if isinstance(outputs_of, list | tuple) else [outputs_of]
        outputs.append(({f"output{n}": np.array(one) for n, one in enumerate(several)}, tuple(picture.shape[2:])))
        return theirs_of(outputs_of, picture, *rest, **named)

    predictor.postprocess = kept
    same = ours = theirs = 0
    worst = 0.0
    reader = None
    for picture in pictures:
        result = model.predict(picture, **options)[0]
        arrays, size = outputs[-1]
        resize: Any = "stretch" if name.startswith("rtdetr") else "letterbox"
        reader = reader or Reader(Post(), Network(name, size, resize, metadata))
        answer = reader(arrays, PICTURE)
        if isinstance(answer, Classes):
            theirs += 1
            ours += 1
            same += answer.labels[0] == result.probs.top1
            continue
        boxes = result.boxes
        corners = np.clip(boxes.xyxy.numpy(), 0, [*PICTURE[::-1], *PICTURE[::-1]])
        count, away = same_boxes(answer, corners, boxes.conf.numpy(), boxes.cls.numpy().astype(int))
        same += count
        theirs += len(boxes)
        ours += len(answer)  # type: ignore[arg-type]
        worst = max(worst, away)
        if result.keypoints is not None and len(boxes):
            assert isinstance(answer, Detections)
            assert answer.keypoints is not None
            worst = max(worst, float(np.abs(result.keypoints.data.numpy() - answer.keypoints).max()))
    assert reader is not None
    return Row(f"{name} (random weights)", "ultralytics predict", same, ours, theirs, worst, family_of(reader))


def torchvision() -> Iterator[Row]:
    """The module's own answer, in the picture's pixels."""
    import torch
    import torchvision.models.detection as detection
    import torchvision.models.segmentation as segmentation

    torch.manual_seed(0)
    none: dict[str, Any] = {"weights": None, "weights_backbone": None}
    picture = torch.rand(1, 3, 320, 320)
    makers: dict[str, Callable[[], Any]] = {
        "ssd300_vgg16": lambda: detection.ssd300_vgg16(**none, score_thresh=0.01),
        "ssdlite320": lambda: detection.ssdlite320_mobilenet_v3_large(**none, score_thresh=0.005),
        "retinanet_resnet50": lambda: detection.retinanet_resnet50_fpn(
            **none, score_thresh=0.008, min_size=320, max_size=320
        ),
        "fasterrcnn_mobilenet": lambda: detection.fasterrcnn_mobilenet_v3_large_320_fpn(**none, box_score_thresh=0.0),
        "keypointrcnn_resnet50": lambda: detection.keypointrcnn_resnet50_fpn(
            **none, box_score_thresh=0.0, min_size=320, max_size=320
        ),
    }
    scale = np.array([2, 1.5, 2, 1.5], np.float32)
    for name, make in makers.items():
        with torch.no_grad():
            theirs = {key: value.numpy() for key, value in make().eval()(list(picture))[0].items()}
        reader = Reader(Post(score=0.0), Network(name, (320, 320)))
        answer = reader(theirs, PICTURE)
        same, worst = same_boxes(answer, theirs["boxes"] * scale, theirs["scores"], theirs["labels"])
        counts = (same, len(answer), len(theirs["scores"]))  # type: ignore[arg-type]
        yield Row(f"{name} (random weights)", "torchvision", *counts, worst, family_of(reader))
    for name in ("deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large", "fcn_resnet50"):
        with torch.no_grad():
            outputs = getattr(segmentation, name)(**none, num_classes=21).eval()(picture)
        reader = Reader(Post(), Network(name, (320, 320)))
        answer = reader({key: value.numpy() for key, value in outputs.items()}, (320, 320))
        assert isinstance(answer, Regions)
        same = int((answer.labels == outputs["out"][0].argmax(0).numpy()).sum())
        yield Row(
            f"{name} (random weights), pixels", "argmax of torchvision", same, 320**2, 320**2, 0.0, family_of(reader)
        )


def transformers() -> Iterator[Row]:
    """`post_process_object_detection`; the family is said, since random logits leave doubt."""
    import torch
    import transformers as library

    torch.manual_seed(0)
    picture = torch.rand(1, 3, *SIZE)
    small = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    makers: dict[str, tuple[str, Callable[[], Any], Callable[[], Any]]] = {
        "YOLOS": (
            "detr",
            lambda: library.YolosForObjectDetection(library.YolosConfig(**small, image_size=list(SIZE), num_labels=91)),
            library.YolosImageProcessor,
        ),
        "RT-DETR": ("rtdetr", lambda: library.RTDetrForObjectDetection(library.RTDetrConfig(num_labels=12)),
                    library.RTDetrImageProcessor),
        "RT-DETR 2": ("rtdetr", lambda: library.RTDetrV2ForObjectDetection(library.RTDetrV2Config(num_labels=12)),
                      library.RTDetrImageProcessor),
        "D-FINE": ("rtdetr", lambda: library.DFineForObjectDetection(library.DFineConfig(num_labels=12)),
                   library.RTDetrImageProcessor),
    }  # fmt: skip
    for name, (family, make, processor) in makers.items():
        model = make().eval()
        for module in model.modules():
            if isinstance(module, torch.nn.Linear) and module.out_features in (12, 92):
                module.weight.data.normal_(0, 1.0 if name == "YOLOS" else 0.12)
                module.bias.data.normal_(-2.2, 0.3)
        with torch.no_grad():
            outputs = model(picture)
        least = 0.02 if name == "YOLOS" else 0.25
        theirs = processor().post_process_object_detection(outputs, threshold=least, target_sizes=[PICTURE])[0]
        arrays = {"logits": outputs.logits.numpy(), "pred_boxes": outputs.pred_boxes.numpy()}
        answer = Reader(Post(read=family, score=least), Network(name, SIZE))(arrays, PICTURE)
        boxes = np.clip(theirs["boxes"].numpy(), 0, [640, 480, 640, 480])
        same, worst = same_boxes(answer, boxes, theirs["scores"].numpy(), theirs["labels"].numpy())
        counts = (same, len(answer), len(boxes))  # type: ignore[arg-type]
        yield Row(f"{name} (random weights)", "transformers", *counts, worst, f"{family} (said)")
