"""A detector that a GPU has something to do for: torchvision's RetinaNet on ResNet-50, random weights, open batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SIZE = (360, 640)  # (height, width): that of the videos, so that nothing is resized
_BOXES = 100
_ANCHORS = 9
_CLASSES = 91


def export(path: Path, backbone: str = "resnet50") -> Path:
    """Write it as ONNX, unless it is there: the best boxes of each picture, as offsets, with scores and labels."""
    if path.is_file():
        return path
    import torch

    network = _network(backbone)
    names = ("images", "boxes", "scores", "labels")
    part = path.with_suffix(".part")
    with torch.no_grad():
        torch.onnx.export(
            network,
            (torch.zeros(2, 3, *SIZE),),
            str(part),
            opset_version=17,
            dynamo=False,
            dynamic_axes={name: {0: "batch"} for name in names},
            input_names=names[:1],
            output_names=names[1:],
        )
    part.rename(path)
    return path


def _network(backbone: str) -> Any:
    import torch
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
    from torchvision.models.detection.retinanet import RetinaNetHead
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7

    torch.manual_seed(0)

    class Detector(torch.nn.Module):  # type: ignore[misc]
        """The network up to its best boxes; what follows of a detector is arithmetic on few numbers."""

        def __init__(self) -> None:
            super().__init__()
            self.backbone = resnet_fpn_backbone(
                backbone_name=backbone,
                weights=None,
                returned_layers=[2, 3, 4],
                extra_blocks=LastLevelP6P7(256, 256),
            )
            self.head = RetinaNetHead(256, _ANCHORS, _CLASSES)

        def forward(self, images: Any) -> Any:
            answers = self.head(list(self.backbone(images).values()))
            scores, labels = answers["cls_logits"].sigmoid().max(-1)
            best, places = scores.topk(_BOXES, dim=1)
            boxes = answers["bbox_regression"].gather(1, places.unsqueeze(-1).expand(-1, -1, 4))
            return boxes, best, labels.gather(1, places).float()

    return Detector().eval()
