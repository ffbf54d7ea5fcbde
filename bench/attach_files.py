"""What the programs of `bench/attach.py` read: two networks of ten milliseconds on a core, and two videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_CHANNELS = 32
_OUTPUTS = ((24, 8), (24, 16), (24, 32))  # channels and stride, as detectors have them
_FRAMES = 120
_VIDEOS = {"small": (384, 640), "medium": (1080, 1920), "large": (2160, 3840)}
# Layers at a quarter of the size, so that both take about ten milliseconds on a core.
NETWORKS = {"detector_640x384": (384, 640, 8), "detector_320x192": (192, 320, 32)}


def make_files(folder: Path) -> None:
    """Write the networks and videos."""
    for name, (height, width, layers) in NETWORKS.items():
        onnx.save(network(height, width, layers), str(folder / f"{name}.onnx"))
    for name, size in _VIDEOS.items():
        write_video(folder / f"{name}.mp4", *size)


def network(height: int, width: int, layers: int) -> onnx.ModelProto:
    """Convolutions at a quarter of the size, and three outputs with values from 0 to 1."""
    rng = np.random.default_rng(0)
    nodes = []
    weights = []
    last = "image"
    for number in range(layers):
        shape = (_CHANNELS, _CHANNELS if number else 3, 3, 3)
        weights.append(_weights(rng, f"w{number}", shape))
        stride = 1 if number else 4
        nodes.append(helper.make_node("Conv", [last, f"w{number}"], [f"c{number}"], strides=[stride] * 2, pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        last = f"r{number}"
    outputs = []
    for channels, stride in _OUTPUTS:
        weights.append(_weights(rng, f"head{stride}", (channels, _CHANNELS, 1, 1)))
        nodes.append(helper.make_node("Conv", [last, f"head{stride}"], [f"h{stride}"], strides=[stride // 4] * 2))
        nodes.append(helper.make_node("Sigmoid", [f"h{stride}"], [f"scores{stride}"]))
        outputs.append(_tensor(f"scores{stride}", ("batch", channels, height // stride, width // stride)))
    graph = helper.make_graph(nodes, "detector", [_tensor("image", ("batch", 3, height, width))], outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _weights(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> onnx.TensorProto:
    scale = (2 / np.prod(shape[1:])) ** 0.5
    return numpy_helper.from_array((scale * rng.standard_normal(shape)).astype(np.float32), name)


def _tensor(name: str, shape: tuple[int | str, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def write_video(path: Path, height: int, width: int) -> None:
    """A pattern of blocks that moves, MPEG-4 at 25 fps."""
    import av  # networks are made where it is not

    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 255, (height // 8, width // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.codec_context.gop_size = _FRAMES  # one key frame: seeking decodes from there
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(_FRAMES):
            picture = np.ascontiguousarray(np.roll(blocks, (3 * number, 5 * number), (0, 1)))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
