"""Layers that stay in FP32 where precision is a flag of the builder (TensorRT 8.6 and 10)."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

_COUNTED = re.compile(r"_\d+$")  # what the parser adds to the name of a node that becomes several layers


def keep_in_fp32(trt: Any, network: Any, config: Any, names: Collection[str]) -> int:
    """Hold the layers of some nodes to FP32, and the builder to that; how many there are.

    Args:
        trt: the module.
        network: as it was parsed; its layers are called after the nodes of the file.
        config: of the builder.
        names: of nodes.
    """
    kept = 0
    for number in range(network.num_layers):
        layer = network.get_layer(number)
        if layer.name in names or _COUNTED.sub("", layer.name) in names:
            kept += _keep(trt, layer)
    if kept:
        config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    return kept


def _keep(trt: Any, layer: Any) -> bool:
    """Whether the layer makes floats, which are then FP32."""
    floats = [place for place in range(layer.num_outputs) if layer.get_output(place).dtype == trt.float32]
    if floats:
        layer.precision = trt.float32
    for place in floats:
        layer.set_output_type(place, trt.float32)
    return bool(floats)
