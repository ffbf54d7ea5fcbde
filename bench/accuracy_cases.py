"""Random networks for `bench/accuracy.py`, healthy ones and ones with planted faults in FP16, and what mends them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 32  # pixels
FRAMES = 12
_OPSET = 17
_BRIGHT = 7  # which of the frames is bright, for the fault that shows on one alone
_CLASSES = 10


@dataclass(frozen=True)
class Planted:
    """A fault: the nodes that may be blamed first, and those that must stay in FP32."""

    blamed: frozenset[str]
    needed: frozenset[str]


@dataclass(frozen=True)
class Case:
    """A network: `kind` says what is planted in it, `planted` is empty for a healthy one; `frame` alone is broken."""

    name: str
    kind: str
    model: Any
    planted: tuple[Planted, ...] = ()
    frame: int | None = None

    @property
    def blamed(self) -> frozenset[str]:
        """Nodes of which one must come first."""
        return frozenset().union(*(fault.blamed for fault in self.planted))

    @property
    def needed(self) -> frozenset[str]:
        """Nodes that must stay in FP32."""
        return frozenset().union(*(fault.needed for fault in self.planted))


@dataclass
class Net:
    """A network while it is made: nodes are named after where they stand."""

    rng: np.random.Generator
    nodes: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)
    tensor: str = "picture"
    channels: int = 3
    taps: list[tuple[str, int]] = field(default_factory=list)  # tensors that the head reads too, with their channels

    def tap(self) -> None:
        """Let the head read the current tensor, so that what goes wrong in it shows."""
        self.taps.append((self.tensor, self.channels))

    def weight(self, values: Any) -> str:
        """A constant; its name."""
        from onnx import numpy_helper

        name = f"weight{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A node, whose name is that of what it makes."""
        from onnx import helper

        name = f"/{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def conv(self, channels: int, kernel: int = 3, scale: float = 1.0) -> str:
        """A convolution that keeps values as large as they are, times `scale`, of the current tensor."""
        fan_in = self.channels * kernel * kernel
        values = self.rng.normal(size=(channels, self.channels, kernel, kernel)) * scale * np.sqrt(2 / fan_in)
        pad = kernel // 2
        bias = self.weight(self.rng.normal(size=channels) * 0.1 * scale)
        self.tensor = self.add("Conv", self.tensor, self.weight(values), bias, pads=[pad] * 4)
        self.channels = channels
        return self.tensor

    def normal(self) -> str:
        """Values of mean 0 and variance 1 along the last axis."""
        scale = self.weight(self.rng.uniform(0.8, 1.2, SIDE))
        shift = self.weight(self.rng.normal(size=SIDE) * 0.1)
        self.tensor = self.add("LayerNormalization", self.tensor, scale, shift, axis=-1, epsilon=1e-3)
        return self.tensor

    def step(self, operator: str, *others: Any, **attributes: Any) -> str:
        """A node on the current tensor and constants."""
        constants = [self.weight(value) for value in others]
        self.tensor = self.add(operator, self.tensor, *constants, **attributes)
        return self.tensor

    def finish(self) -> Any:
        """The model, with a head of classes."""
        from onnx import TensorProto, helper

        self.step("GlobalAveragePool")
        self.step("Flatten")
        matrix = self.weight(self.rng.normal(size=(self.channels, _CLASSES)))
        bias = self.weight(self.rng.normal(size=_CLASSES))
        logits = self.add("Gemm", self.tensor, matrix, bias)
        for tensor, channels in self.taps:
            logits = self.add("Add", logits, self._tapped(tensor, channels))
        return self.model(logits, (1, _CLASSES), helper, TensorProto.FLOAT)

    def _tapped(self, tensor: str, channels: int) -> str:
        """Logits of one tensor: a weighted mean per channel."""
        mask = self.weight(self.rng.normal(size=(1, channels, SIDE, SIDE)) * SIDE)
        means = self.add("GlobalAveragePool", self.add("Mul", tensor, mask))
        matrix = self.weight(self.rng.normal(size=(channels, _CLASSES)))
        return self.add("MatMul", self.add("Flatten", means), matrix)

    def model(self, output: str, shape: tuple[int, ...], helper: Any, kind: int) -> Any:
        """The model with that output."""
        picture = helper.make_tensor_value_info("picture", kind, [1, 3, SIDE, SIDE])
        made = helper.make_tensor_value_info(output, kind, shape)
        graph = helper.make_graph(self.nodes, "network", [picture], [made], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=9)


def _plain(net: Net) -> None:
    net.conv(int(net.rng.integers(6, 17)), kernel=int(net.rng.choice((1, 3))))
    net.step(str(net.rng.choice(("Relu", "Tanh", "Sigmoid", "HardSwish"))))


def _residual(net: Net) -> None:
    before = net.tensor
    net.conv(net.channels)
    net.step("Relu")
    net.conv(net.channels)
    net.tensor = net.add("Add", before, net.tensor)


def _squeeze(net: Net) -> None:
    before = net.tensor
    channels = net.channels
    net.step("GlobalAveragePool")
    net.conv(max(2, channels // 2), kernel=1)
    net.step("Relu")
    net.conv(channels, kernel=1)
    net.tensor = net.add("Mul", before, net.step("HardSigmoid"))


def _attention(net: Net) -> None:
    scores = net.add("MatMul", net.tensor, net.add("Transpose", net.tensor, perm=[0, 1, 3, 2]))
    scaled = net.add("Mul", scores, net.weight(1 / SIDE))
    net.tensor = net.add("MatMul", net.add("Softmax", scaled, axis=-1), net.tensor)


_BLOCKS: Sequence[Callable[[Net], object]] = (_plain, _plain, _residual, _squeeze, _attention, Net.normal)


def _overflow(net: Net) -> Planted:
    """A convolution of large values, scaled back by the next node."""
    size = float(net.rng.uniform(2e5, 2e6))
    large = net.conv(net.channels, kernel=1, scale=size)
    net.step("Relu")
    back = net.step("Div", size)
    return Planted(frozenset({large}), frozenset({large, back}))


def _exponential(net: Net) -> Planted:
    """log(1 + exp(x)) written out, of values up to about 40."""
    net.step("Mul", float(net.rng.uniform(10, 14)))
    power = net.step("Exp")
    more = net.step("Add", 1.0)
    back = net.step("Log")
    return Planted(frozenset({power}), frozenset({power, more, back}))


def _underflow(net: Net) -> Planted:
    """A norm of small values: their squares are zero in FP16, and divide."""
    small = net.step("Mul", float(net.rng.uniform(2e-5, 6e-5)))
    square = net.add("Mul", small, small)
    mean = net.add("ReduceMean", square, axes=[1], keepdims=1)
    shifted = net.add("Add", mean, net.weight(1e-14))
    root = net.add("Sqrt", shifted)
    net.tensor = net.add("Div", small, root)
    return Planted(frozenset({square}), frozenset({square, mean, shifted, root}))


def _norm_of_large(net: Net) -> Planted:
    """A normalisation that an exporter took apart, of values whose squares FP16 does not hold."""
    large = net.step("Mul", float(net.rng.uniform(1e3, 8e3)))
    square = net.add("Pow", large, net.weight(2.0))
    mean = net.add("ReduceMean", square, axes=[1], keepdims=1)
    shifted = net.add("Add", mean, net.weight(1e-3))
    root = net.add("Sqrt", shifted)
    net.tensor = net.add("Div", large, root)
    return Planted(frozenset({square}), frozenset({square, mean, shifted, root}))


def _norm_of_shifted(net: Net) -> Planted:
    """A LayerNormalization of values that differ little from a large one."""
    shifted = net.step("Add", float(net.rng.uniform(3e3, 2e4)))
    normal = net.normal()
    return Planted(frozenset({shifted, normal}), frozenset({shifted, normal}))


def _softmax(net: Net) -> Planted:
    """Logits in the thousands, whose small differences decide."""
    offset = float(net.rng.uniform(6e3, 3e4))
    row = net.weight(np.full((SIDE,), offset) + net.rng.normal(size=SIDE))
    logits = net.add("Add", net.tensor, row)
    weights = net.add("Softmax", logits, axis=-1)
    weighted = net.add("Mul", weights, net.tensor)
    net.tensor = net.add("Mul", weighted, net.weight(float(SIDE)))
    return Planted(frozenset({logits, weights}), frozenset({logits, weights}))


def _accumulation(net: Net) -> Planted:
    """A mean over many values of a few hundred, whose sum FP16 does not hold."""
    size = float(net.rng.uniform(300, 900))
    before = net.step("Abs")
    large = net.add("Mul", before, net.weight(size))
    mean = net.add("ReduceMean", large, axes=[2, 3], keepdims=1)
    net.tensor = net.add("Div", large, mean)
    return Planted(frozenset({mean}), frozenset({mean}))


def _cancelled(net: Net) -> Planted:
    """A large number that is added and taken away again."""
    size = float(net.rng.uniform(2e3, 1.2e4))
    added = net.step("Add", size)
    taken = net.step("Sub", size)
    return Planted(frozenset({added, taken}), frozenset({added, taken}))


_FAULTS: dict[str, Callable[[Net], Planted]] = {
    "overflow": _overflow,
    "exp": _exponential,
    "underflow": _underflow,
    "norm of large values": _norm_of_large,
    "norm of shifted values": _norm_of_shifted,
    "softmax": _softmax,
    "accumulation": _accumulation,
    "cancellation": _cancelled,
}


def _body(net: Net, blocks: int) -> None:
    for _ in range(blocks):
        net.rng.choice(np.array(_BLOCKS, dtype=object))(net)


def _start(seed: Sequence[int]) -> Net:
    net = Net(np.random.default_rng(seed))
    _plain(net)
    return net


def _healthy(seed: Sequence[int], name: str) -> Case:
    net = _start(seed)
    _body(net, int(net.rng.integers(3, 10)))
    return Case(name, "healthy", net.finish())


def _with_faults(seed: Sequence[int], name: str, kinds: Sequence[str]) -> Case:
    """Faults of these kinds, with healthy blocks before, between and after them."""
    net = _start(seed)
    planted = []
    for kind in kinds:
        _body(net, int(net.rng.integers(1, 4)))
        net.normal()
        planted.append(_FAULTS[kind](net))
        net.tap()
    net.normal()
    _body(net, int(net.rng.integers(1, 4)))
    return Case(name, " and ".join(kinds), net.finish(), tuple(planted))


def _first(seed: Sequence[int], name: str) -> Case:
    """What reads the picture subtracts a large mean from a large offset."""
    net = Net(np.random.default_rng(seed))
    planted = _cancelled(net)
    net.tap()
    _plain(net)
    _body(net, 3)
    return Case(name, "first layer", net.finish(), (planted,))


def _last(seed: Sequence[int], name: str) -> Case:
    """The head makes a large offset that the last node takes away."""
    from onnx import TensorProto, helper

    net = _start(seed)
    _body(net, 4)
    net.normal()
    net.step("GlobalAveragePool")
    net.step("Flatten")
    size = float(net.rng.uniform(3e3, 2e4))
    matrix = net.weight(net.rng.normal(size=(net.channels, _CLASSES)) * 4)
    head = net.add("Gemm", net.tensor, matrix, net.weight(np.full(_CLASSES, size)))
    output = net.add("Sub", head, net.weight(size))
    planted = Planted(frozenset({head, output}), frozenset({head, output}))
    return Case(name, "last layer", net.model(output, (1, _CLASSES), helper, TensorProto.FLOAT), (planted,))


def _one_frame(seed: Sequence[int], name: str) -> Case:
    """An exponential that overflows on the bright frame alone."""
    net = Net(np.random.default_rng(seed))
    means = net.add("ReduceMean", net.tensor, axes=[1, 2, 3], keepdims=1)
    level = net.add("Mul", means, net.weight(15.0))
    power = net.add("Exp", level)
    back = net.add("Log", power)
    net.tensor = net.add("Add", net.tensor, net.add("Mul", back, net.weight(0.1)))
    _plain(net)
    _body(net, 3)
    return Case(name, "one frame", net.finish(), (Planted(frozenset({power}), frozenset({power, back})),), _BRIGHT)


_PLACED: dict[str, Callable[[Sequence[int], str], Case]] = {
    "first layer": _first,
    "last layer": _last,
    "one frame": _one_frame,
}


def cases(seed: int, rounds: int = 5) -> Iterator[Case]:
    """Healthy networks, each fault alone, two at once, and those that have their own place; seeded."""
    number = 0
    for turn in range(rounds):
        pair = np.random.default_rng([seed, turn]).choice(sorted(_FAULTS), 2, replace=False).tolist()
        alone = [(kind,) for kind in _FAULTS]
        for kinds in (*alone, tuple(pair)):
            number += 1
            yield _with_faults((seed, number), f"{number:03d}", kinds)
        for make in (*_PLACED.values(), _healthy, _healthy, _healthy):
            number += 1
            yield make((seed, number), f"{number:03d}")


def pictures(seed: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Smooth pictures of middling brightness with their files' names, and one that is bright."""
    rng = np.random.default_rng([seed, FRAMES])
    for number in range(FRAMES):
        coarse = rng.uniform(60, 190, (4, 4, 3)).repeat(SIDE // 4, 0).repeat(SIDE // 4, 1)
        picture = coarse + rng.normal(0, 12, coarse.shape)
        if number == _BRIGHT:
            picture = 0.15 * picture + 212
        yield f"{number:02d}.png", picture.clip(0, 255).astype(np.uint8)


def write(folder: Path, case: Case) -> str:
    """Write the network of a case; its path."""
    import onnx

    path = folder / f"{case.name}.onnx"
    onnx.save(case.model, path)
    return str(path)
