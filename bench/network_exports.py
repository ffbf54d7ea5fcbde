"""Networks of torchvision, timm and transformers with random weights, exported as people export them.

    python bench/network_exports.py FOLDER [NAME ...]

Run it with a Python that has these packages; `bench/networks.py` then measures what is in FOLDER. What is there already
is left as it is. Weights are random: what is asked is whether the network runs and gives the library's answers.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from network_makers import (
    TINY,
    classifier,
    clip,
    decoder,
    detector,
    flow,
    recurrent,
    segmenter,
    stand_in_for_compiled_operators,
    timm,
    transformer,
    video_transformer,
    whisper_encoder,
)

OPSET = 17
SIDE = 224


@dataclass(frozen=True)
class Export:
    """A network, the inputs it is exported with, and their names with the names of their open dimensions."""

    make: Callable[[], Any]
    shapes: tuple[tuple[int, ...], ...] = ((1, 3, SIDE, SIDE),)
    inputs: tuple[str, ...] = ("images",)
    outputs: tuple[str, ...] = ("out",)
    open_axes: dict[str, dict[int, str]] | None = None
    whole_numbers: frozenset[str] = frozenset()
    tracing: bool = True


BATCH: dict[str, dict[int, str]] = {"images": {0: "batch"}}
ANY_SIZE: dict[str, dict[int, str]] = {"images": {0: "batch", 2: "height", 3: "width"}}
TOKENS: dict[str, dict[int, str]] = {
    "input_ids": {0: "batch", 1: "tokens"},
    "attention_mask": {0: "batch", 1: "tokens"},
}


HIDDEN = ("last_hidden_state",)
PIXELS: dict[str, dict[int, str]] = {"pixel_values": {0: "batch"}}
PIXELS_OF_ANY_SIZE: dict[str, dict[int, str]] = {"pixel_values": {0: "batch", 2: "height", 3: "width"}}


def _text(kind: str, config: str, **sizes: Any) -> Export:
    """A network of tokens and their mask."""
    names = ("input_ids", "attention_mask")
    return Export(
        partial(transformer, kind, config, names, HIDDEN, **sizes),
        ((1, 16), (1, 16)),
        names,
        HIDDEN,
        open_axes=TOKENS,
        whole_numbers=frozenset(TOKENS),
    )


def _vision(
    kind: str,
    config: str,
    outputs: tuple[str, ...] = HIDDEN,
    open_axes: dict[str, dict[int, str]] = PIXELS,
    **sizes: Any,
) -> Export:
    """A network of pictures."""
    names = ("pixel_values",)
    return Export(
        partial(transformer, kind, config, names, outputs, **sizes), inputs=names, outputs=outputs, open_axes=open_axes
    )


def _caches(layers: int) -> Export:
    names = tuple(f"past_{part}_{layer}" for layer in range(layers) for part in ("key", "value"))
    outputs = tuple(name.replace("past", "present") for name in names)
    axes: dict[str, dict[int, str]] = {name: {0: "batch", 2: "past"} for name in names}
    return Export(
        decoder,
        ((1, 1), *[(1, 4, 8, 16)] * (2 * layers)),
        ("ids", *names),
        ("logits", *outputs),
        {"ids": {0: "batch", 1: "tokens"}, **axes},
        frozenset({"ids"}),
    )


_CLASSIFIERS = (
    "resnet18", "mobilenet_v3_large", "efficientnet_b0", "densenet121", "shufflenet_v2_x1_0", "squeezenet1_1",
    "regnet_y_400mf", "convnext_tiny", "mnasnet0_5", "googlenet", "vit_b_16", "swin_t", "swin_v2_t",
)  # fmt: skip
_TIMM = (
    "vit_tiny_patch16_224", "deit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "mobilevit_s", "edgenext_x_small",
    "convnextv2_atto", "repvgg_a0", "ghostnet_100", "mobilenetv4_conv_small", "levit_128s", "efficientvit_b0",
    "poolformer_s12", "mixer_s32_224", "fastvit_t8",
)  # fmt: skip

EXPORTS: dict[str, Export] = {
    **{f"torchvision-{name}": Export(partial(classifier, name), open_axes=BATCH) for name in _CLASSIFIERS},
    **{f"timm-{name}": Export(partial(timm, name), open_axes=BATCH) for name in _TIMM},
    "torchvision-resnet18-dynamo": Export(partial(classifier, "resnet18"), tracing=False),
    "torchvision-fasterrcnn": Export(
        partial(detector, "fasterrcnn_mobilenet_v3_large_320_fpn", 320),
        ((1, 3, 320, 320),),
        outputs=("boxes", "labels", "scores"),
    ),
    "torchvision-ssdlite": Export(
        partial(detector, "ssdlite320_mobilenet_v3_large", 320),
        ((1, 3, 320, 320),),
        outputs=("boxes", "scores", "labels"),
    ),
    "torchvision-retinanet": Export(
        partial(detector, "retinanet_resnet50_fpn", 320),
        ((1, 3, 320, 320),),
        outputs=("boxes", "scores", "labels"),
    ),
    "torchvision-keypoints": Export(
        partial(detector, "keypointrcnn_resnet50_fpn", 320),
        ((1, 3, 320, 320),),
        outputs=("boxes", "labels", "scores", "keypoints", "keypoint_scores"),
    ),
    "torchvision-deeplab": Export(partial(segmenter, "deeplabv3_mobilenet_v3_large"), open_axes=ANY_SIZE),
    "torchvision-lraspp": Export(partial(segmenter, "lraspp_mobilenet_v3_large"), open_axes=ANY_SIZE),
    "torchvision-raft": Export(flow, ((1, 3, 128, 160),) * 2, ("first", "second")),
    "torchvision-r3d-18": Export(partial(classifier, "r3d_18"), ((1, 3, 16, 112, 112),), ("clip",)),
    "torchvision-s3d": Export(
        partial(classifier, "s3d"), ((1, 3, 16, SIDE, SIDE),), ("clip",), open_axes={"clip": {0: "batch"}}
    ),
    "torchvision-mvit": Export(video_transformer, ((1, 3, 16, 112, 112),), ("clip",), open_axes={"clip": {0: "batch"}}),
    "torch-lstm": Export(
        partial(recurrent, "LSTM"),
        ((10, 1, 80), (2, 1, 64), (2, 1, 64)),
        ("x", "h", "c"),
        ("y", "h_out", "c_out"),
        {"x": {0: "time", 1: "batch"}, "h": {1: "batch"}, "c": {1: "batch"}},
    ),
    "torch-gru": Export(
        partial(recurrent, "GRU", batch_first=True),
        ((1, 10, 80), (2, 1, 64)),
        ("x", "h"),
        ("y", "h_out"),
        {"x": {0: "batch", 1: "time"}, "h": {1: "batch"}},
    ),
    "transformers-bert": _text("BertModel", "BertConfig", vocab_size=1000, **TINY),
    "transformers-distilbert": _text(
        "DistilBertModel", "DistilBertConfig", vocab_size=1000, dim=64, n_layers=2, n_heads=4, hidden_dim=128
    ),
    "transformers-gpt2-caches": _caches(2),
    "transformers-vit": _vision("ViTModel", "ViTConfig", **TINY),
    "transformers-dinov2": _vision(
        "Dinov2Model",
        "Dinov2Config",
        HIDDEN,
        PIXELS_OF_ANY_SIZE,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
    ),
    "transformers-segformer": _vision(
        "SegformerForSemanticSegmentation", "SegformerConfig", ("logits",), PIXELS_OF_ANY_SIZE
    ),
    "transformers-yolos": _vision(
        "YolosForObjectDetection", "YolosConfig", ("logits", "pred_boxes"), image_size=[SIDE, SIDE], **TINY
    ),
    "transformers-swin": _vision("SwinModel", "SwinConfig", depths=[2, 2], num_heads=[2, 4], embed_dim=48),
    "transformers-detr": _vision(
        "DetrForObjectDetection",
        "DetrConfig",
        ("logits", "pred_boxes"),
        backbone="resnet18",
        use_timm_backbone=True,
        use_pretrained_backbone=False,
        encoder_layers=1,
        decoder_layers=1,
        d_model=64,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
    ),
    "transformers-whisper-encoder": Export(
        whisper_encoder, ((1, 80, 400),), ("input_features",), HIDDEN, {"input_features": {0: "batch"}}
    ),
    "transformers-clip": Export(
        clip,
        ((1, 16), (1, 3, SIDE, SIDE)),
        ("input_ids", "pixel_values"),
        ("logits_per_image",),
        {"input_ids": {0: "texts", 1: "tokens"}, "pixel_values": {0: "batch"}},
        frozenset({"input_ids"}),
    ),
}


def write(name: str, folder: Path) -> None:
    """Export a network into `folder`; raises what the exporter raises."""
    torch = import_module("torch")
    torch.manual_seed(0)
    torch.backends.mha.set_fastpath_enabled(False)  # which the tracing exporter does not know
    export = EXPORTS[name]
    network = export.make().eval()
    arguments = [
        _argument(torch, *pair, export.whole_numbers) for pair in zip(export.inputs, export.shapes, strict=True)
    ]
    with torch.no_grad():
        network(*arguments)
        torch.onnx.export(
            network,
            tuple(arguments),
            str(folder / f"{name}.onnx"),
            input_names=list(export.inputs),
            output_names=list(export.outputs) if export.tracing else None,
            dynamic_axes=export.open_axes,
            opset_version=OPSET if export.tracing else 18,
            dynamo=not export.tracing,
        )


def _argument(torch: Any, name: str, shape: Sequence[int], whole_numbers: frozenset[str]) -> Any:
    if name in whole_numbers:
        return torch.ones(*shape, dtype=torch.int64)
    return torch.rand(*shape)


def main() -> None:
    """Export all networks, or those that are named."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    stand_in_for_compiled_operators()
    for name in sys.argv[2:] or EXPORTS:
        if (folder / f"{name}.onnx").is_file():
            continue
        try:
            write(name, folder)
            print(f"{name}: {(folder / f'{name}.onnx').stat().st_size / 2**20:.1f} MiB", flush=True)
        except Exception as error:  # the exporter's own faults: the others go on
            print(f"{name}: not exported: {' '.join(str(error).split())[:200]}", flush=True)
            if len(sys.argv) > 2:
                traceback.print_exc()


if __name__ == "__main__":
    main()
