"""A network as the simulated device sees it, from its ONNX file: enough for a plausible simulation, no more."""

from __future__ import annotations

from framepace.models.operations import Network, Shapes, network
from framepace.models.spec import NULL
from framepace.simulate.parameters import NetworkModel

TILE = 4096  # outputs of a thread block: 64 x 64, a usual tile of matrix products


def estimate(location: str, inputs: Shapes) -> NetworkModel:
    """The network in a file ('builtin:NAME', a path, 'null') for one item of the inputs, by name.

    What the file does not say (one without shapes) is left at the defaults.
    """
    default = NetworkModel()
    if location == NULL:
        return default
    onnx = network(location, {name: (1, *shape[1:]) for name, shape in inputs.items()})
    flops = sum(kernel.flops for kernel in onnx.kernels)
    gflops = default.gflops
    moved = _moved(onnx)
    if moved:
        gflops = flops / 1e9
    return NetworkModel(
        kernels=max(1, len(onnx.kernels)),
        gflops=gflops,
        mbytes=moved * 4 / 1e6 or default.mbytes,
        weights_mb=onnx.weights * 4 / 1e6,
        blocks=_blocks(onnx) or default.blocks,
        product_share=sum(kernel.flops for kernel in onnx.kernels if kernel.kind == "Gemm") / (flops or 1.0),
    )


def _moved(onnx: Network) -> int:
    """Elements that are read and written, weights left out."""
    return sum(tensor.elements for kernel in onnx.kernels for tensor in (*kernel.reads, *kernel.writes))


def _blocks(onnx: Network) -> float:
    """Thread blocks that the arithmetic runs in, on average; of all tensors where there is no arithmetic."""
    weighted = [(kernel.flops or kernel.elements, kernel.elements) for kernel in onnx.kernels]
    total = sum(weight for weight, _ in weighted)
    if not total:
        return 0.0
    return sum(weight * max(1, elements / TILE) for weight, elements in weighted) / total
