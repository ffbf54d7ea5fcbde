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

OPSET = 17
_LIBRARIES: list[Any] = []  # what they declare goes with them
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


def torchvision(name: str, **options: Any) -> Any:
    """A network of torchvision."""
    return import_module("torchvision.models").get_model(name, weights=None, weights_backbone=None, **options)


def classifier(name: str) -> Any:
    """A network of torchvision that has no backbone of its own."""
    return import_module("torchvision.models").get_model(name, weights=None)


def timm(name: str) -> Any:
    """A network of timm."""
    return import_module("timm").create_model(name, pretrained=False)


def transformer(kind: str, config: str, names: Sequence[str], outputs: Sequence[str], **sizes: Any) -> Any:
    """A network of transformers of a small configuration, called by the names of its inputs.

    Attention is plain, as the tracing exporter knows it. Its answers are those of its outputs that are named.
    """
    torch = import_module("torch")
    library = import_module("transformers")
    made = getattr(library, config)(**sizes)
    made._attn_implementation = "eager"
    network = getattr(library, kind)(made)

    class Named(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *inputs: Any) -> Any:
            result = self.network(**dict(zip(names, inputs, strict=True)))
            return tuple(result[output] for output in outputs)

    return Named()


def detector(name: str, side: int) -> Any:
    """A detector of torchvision at one size, its outputs in an order that exporters can name."""
    torch = import_module("torch")
    network = torchvision(name)

    class Detector(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: Any) -> Any:
            result = self.network(images)
            first = result[0] if isinstance(result, list | tuple) else result
            return tuple(first.values())

    return Detector()


def segmenter(name: str) -> Any:
    """A segmentation network of torchvision, its one output."""
    return _picking(torchvision(name), "out")


def _picking(network: Any, key: str) -> Any:
    torch = import_module("torch")

    class Picking(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *inputs: Any) -> Any:
            return self.network(*inputs)[key]

    return Picking()


def flow() -> Any:
    """RAFT with few updates: two pictures."""
    torch = import_module("torch")
    network = classifier("raft_small")

    class Flow(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, first: Any, second: Any) -> Any:
            return self.network(first, second, num_flow_updates=2)[-1]

    return Flow()


def recurrent(kind: str, batch_first: bool = False) -> Any:
    """An LSTM or GRU over features of audio or text, with its state as inputs and outputs."""
    torch = import_module("torch")
    network = getattr(torch.nn, kind)(80, 64, num_layers=2, batch_first=batch_first)

    class Recurrent(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Any, *state: Any) -> Any:
            if kind == "LSTM":
                y, (h, c) = self.network(x, state)
                return y, h, c
            return self.network(x, *state)

    return Recurrent()


def video_transformer() -> Any:
    """A multiscale vision transformer of two blocks: clips of 16 pictures."""
    library = import_module("torchvision.models.video.mvit")
    block = partial(library.MSBlockConfig, kernel_q=[3, 3, 3], kernel_kv=[3, 3, 3], stride_kv=[1, 8, 8])
    blocks = [
        block(num_heads=1, input_channels=32, output_channels=32, stride_q=[1, 1, 1]),
        block(num_heads=2, input_channels=32, output_channels=64, stride_q=[1, 2, 2]),
    ]
    return library.MViT(
        spatial_size=(112, 112), temporal_size=16, block_setting=blocks, num_classes=10, residual_pool=True,
        residual_with_cls_embed=False, rel_pos_embed=True, proj_after_attn=True,
    )  # fmt: skip


def whisper_encoder() -> Any:
    """The encoder of a small Whisper: four seconds of a log-mel spectrogram."""
    library = import_module("transformers")
    config = library.WhisperConfig(
        d_model=64, encoder_layers=2, decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=128, decoder_ffn_dim=128, max_source_positions=200,
    )  # fmt: skip
    config._attn_implementation = "eager"
    return _picking(library.WhisperModel(config).get_encoder(), "last_hidden_state")


def clip() -> Any:
    """A small CLIP: how well each text fits each picture."""
    library = import_module("transformers")
    text = {**_TINY, "vocab_size": 1000, "eos_token_id": 999}
    config = library.CLIPConfig(text_config=text, vision_config=_TINY, projection_dim=32)
    config._attn_implementation = "eager"
    return _picking(library.CLIPModel(config), "logits_per_image")


def decoder() -> Any:
    """GPT-2 of two layers with its caches as inputs and outputs."""
    torch = import_module("torch")
    library = import_module("transformers")
    config = library.GPT2Config(n_layer=2, n_embd=64, n_head=4, vocab_size=1000, n_positions=128)
    config._attn_implementation = "eager"
    network = library.GPT2LMHeadModel(config)

    class Decoder(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, ids: Any, *caches: Any) -> Any:
            cache = library.DynamicCache(list(zip(caches[::2], caches[1::2], strict=True)))
            result = self.network(ids, past_key_values=cache, use_cache=True)
            layers = [part for layer in result.past_key_values.layers for part in (layer.keys, layer.values)]
            return (result.logits, *layers)

    return Decoder()


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


_TINY: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
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
    "transformers-bert": _text("BertModel", "BertConfig", vocab_size=1000, **_TINY),
    "transformers-distilbert": _text(
        "DistilBertModel", "DistilBertConfig", vocab_size=1000, dim=64, n_layers=2, n_heads=4, hidden_dim=128
    ),
    "transformers-gpt2-caches": _caches(2),
    "transformers-vit": _vision("ViTModel", "ViTConfig", **_TINY),
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
        "YolosForObjectDetection", "YolosConfig", ("logits", "pred_boxes"), image_size=[SIDE, SIDE], **_TINY
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


def stand_in_for_compiled_operators() -> None:
    """Declare the operators of torchvision where its compiled part does not fit this PyTorch.

    The exporter writes their ONNX operators by name; while it traces, boxes are kept and pooled to anything.
    """
    try:
        import_module("torchvision")
        return
    except RuntimeError:
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
    torch = import_module("torch")
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define(
        "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width, "
        "int sampling_ratio, bool aligned) -> Tensor"
    )

    def nms(dets: Any, scores: Any, iou_threshold: float) -> Any:
        return torch.arange(len(dets))

    def roi_align(picture: Any, rois: Any, scale: float, height: int, width: int, ratio: int, aligned: bool) -> Any:
        return torch.rand(len(rois), picture.shape[1], height, width)

    library.impl("nms", nms, "CPU")
    library.impl("roi_align", roi_align, "CPU")
    _LIBRARIES.append(library)
    import_module("torchvision.extension")
    for module in ("torchvision.extension", "torchvision.ops.roi_align"):
        sys.modules[module]._has_ops = _has_operators  # type: ignore[attr-defined]


def _has_operators() -> bool:
    return True


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
