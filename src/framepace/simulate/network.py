"""What the simulated device is told of a network, from its ONNX file: enough for a plausible simulation, no more."""

from __future__ import annotations

from framepace.models.operations import Shapes, network
from framepace.models.spec import NULL
from framepace.simulate.parameters import NetworkModel

_TILE = 4096  # outputs of a thread block: 64 x 64, a usual tile of matrix products


def estimate(location: str, inputs: Shapes) -> NetworkModel:
    """The network in a file ('builtin:NAME', a path, 'null') for one item of the inputs, by name.

    What cannot be told (a file without shapes) is left at the defaults.
    """
    default = NetworkModel()
    if location == NULL:
        return default
    found = network(location, {name: (1, *shape[1:]) for name, shape in inputs.items()})
    moved = sum(tensor.elements for kernel in found.kernels for tensor in (*kernel.reads, *kernel.writes))
    # The blocks that the arithmetic runs in; of the largest tensors where there is no arithmetic.
    work = [(kernel.flops or kernel.elements, kernel.elements) for kernel in found.kernels]
    total = sum(weight for weight, _ in work)
    blocks = sum(weight * max(1, out / _TILE) for weight, out in work) / total if total else 0.0
    return NetworkModel(
        kernels=max(1, len(found.kernels)),
        gflops=sum(kernel.flops for kernel in found.kernels) / 1e9 if moved else default.gflops,
        mbytes=moved * 4 / 1e6 or default.mbytes,
        weights_mb=found.weights * 4 / 1e6,
        blocks=blocks or default.blocks,
    )
