"""The layers of a network on the simulated device: the kernels of its file, each with its part of the inference."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from framepace.facts.model import Layer
from framepace.models.operations import Kernel, Network, Tensor
from framepace.simulate.demand import Demand, demand
from framepace.simulate.network import TILE
from framepace.simulate.parameters import DeviceModel, NetworkModel

_FP32_BYTES = 4
_SCALE = {"fp32": 1.0, "fp16": 0.5, "bf16": 0.5, "int8": 0.25}


def layers(
    device: DeviceModel, parameters: NetworkModel, network: Network, precision: str, whole: Demand
) -> tuple[Layer, ...]:
    """The kernels of `network`, whose shapes have the batch, as layers; together they take `whole`, a batch, or longer.

    Each takes its time alone on the device: of its arithmetic, its bytes, or the least that a kernel takes. In a whole
    inference these overlap from kernel to kernel.
    """
    alone = [_alone(device, parameters, kernel, precision) for kernel in network.kernels]
    total = sum(alone)
    if not total:
        return ()
    scale = max(1.0, max(whole.compute, whole.memory, whole.least) / total)
    return tuple(_layer(kernel, time * scale, precision) for kernel, time in zip(network.kernels, alone, strict=True))


def _alone(device: DeviceModel, parameters: NetworkModel, kernel: Kernel, precision: str) -> float:
    """Time of one kernel alone, ns."""
    one = replace(
        parameters,
        kernels=1,
        gflops=kernel.flops / 1e9,
        mbytes=_elements((*kernel.reads, *kernel.writes)) * _FP32_BYTES / 1e6,
        weights_mb=_elements(kernel.weights) * _FP32_BYTES / 1e6,
        blocks=max(1.0, kernel.elements / TILE),
        fixed_us=0.0,
    )
    needed = demand(device, one, precision, 1)
    return max(needed.compute, needed.memory, needed.least)


def _layer(kernel: Kernel, time: float, precision: str) -> Layer:
    return Layer(
        name=kernel.name,
        kind=kernel.kind,
        precision=precision,
        place="cuda",
        time=time,
        nodes=(kernel.name,),
        inputs=tuple(tensor.name for tensor in kernel.reads),
        outputs=tuple(tensor.name for tensor in kernel.writes),
        flops=kernel.flops or None,
        bytes=round(_elements((*kernel.reads, *kernel.writes, *kernel.weights)) * _FP32_BYTES * _SCALE[precision]),
    )


def _elements(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.elements for tensor in tensors)
