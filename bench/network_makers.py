"""Makes the networks that network_exports.py exports: torchvision's, timm's and transformers', with random weights.

What a library returns as an object or by name, they return as tensors, in an order that exporters can name.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any

_LIBRARIES: list[Any] = []  # what they declare goes with them
TINY: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}


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
    text = {**TINY, "vocab_size": 1000, "eos_token_id": 999}
    config = library.CLIPConfig(text_config=text, vision_config=TINY, projection_dim=32)
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
