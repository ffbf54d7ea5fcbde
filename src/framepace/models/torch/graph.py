"""Exported programs as modules: the JSON graph becomes a torch.fx graph of PyTorch's own operators.

The same calls in the same order as `torch.export.load(file).module()` makes, without its guards and assertions, and
without what models/torch/file.py says of its loader. Names from the file reach no source text.
"""

from __future__ import annotations

import importlib
import io
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import fx

from framepace.errors import ModelError
from framepace.models.torch.file import DTYPES, FORBIDDEN, NAMESPACES, Archive, damaged, document

_STATE = {"parameter": "parameter_name", "buffer": "buffer_name", "tensor_constant": "tensor_constant_name"}
# Control flow and modes: operators that take parts of the graph.
_HIGHER = ("cond", "while_loop", "wrap_with_set_grad_enabled", "wrap_with_autocast")
# What only checks: sizes and dtypes, which autocast changes on purpose.
_CHECKS = (
    "_assert_scalar", "_assert_async", "_assert_tensor_metadata", "sym_constrain_range",
    "sym_constrain_range_for_size",
)  # fmt: skip
# Arithmetic on sizes.
_ARITHMETIC = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "neg", "pos", "abs", "eq", "ne", "lt", "le", "gt", "ge",
    "and_", "or_", "not_", "getitem", "lshift", "rshift",
)  # fmt: skip
_SYMBOLIC = (
    "sym_float", "sym_int", "sym_ite", "sym_max", "sym_min", "sym_not", "sym_sum", "_sym_sqrt",
)  # fmt: skip
_MATHS = ("ceil", "floor", "trunc", "sqrt")
# What may be called, by module.
_MODULES: Mapping[str, tuple[Any, Sequence[str]]] = {
    "_operator": (operator, _ARITHMETIC),
    "math": (math, _MATHS),
    "torch": (torch, _SYMBOLIC),
    "torch.sym": (torch, _SYMBOLIC),
    "torch.ops.higher_order": (torch.ops.higher_order, _HIGHER),
}
# Codes of torch._export.serde.schema.ArgumentKind.
_POSITIONAL = 1
_KEYWORD = 2
# Members with pickled tensors in archives of older versions.
_PICKLED = (
    "data/weights/model.pt", "data/constants/model.pt", "serialized_state_dict.json", "serialized_state_dict.pt",
    "serialized_constants.json", "serialized_constants.pt",
)  # fmt: skip
_FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d, 4: torch.preserve_format}
_BFLOAT16 = 13
_EXPANDED_RATIO = 4096  # of a tensor to its storage: what is expanded shares elements, and is copied whole to a device
_FLOATS = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}
_LOWERED = (
    "conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear",
    "addmm", "mm", "matmul", "bmm", "baddbmm",
)  # fmt: skip


def load(archive: Archive, device: str) -> Any:
    """The exported program as a module with its state on `device`; inputs are the user's tensors in order.

    Returns a tuple of tensors. Raises ModelError for operators that framepace does not run, and for damaged files.
    """
    program = document(archive)
    with damaged(archive.location):
        try:
            tensors = {name: tensor.to(device) for name, tensor in _state(archive).items()}
            return _main(program["graph_module"], tensors, device)
        except RuntimeError as error:  # storage too small, a type of tensor that this PyTorch does not know
            if isinstance(error, torch.cuda.OutOfMemoryError):
                raise
            raise ValueError(str(error).splitlines()[0]) from error


def limits(program: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Least and greatest value of each symbol of the export; PyTorch writes 2 for 'any' (0 and 1 work too)."""
    ranges = program.get("range_constraints", {})
    return {name: (_bound(r["min_val"], 0), _bound(r["max_val"], math.inf)) for name, r in ranges.items()}


def _bound(value: int | None, otherwise: float) -> float:
    if value is None or (otherwise == 0 and value <= 2):
        return otherwise
    return value


def lower(module: Any, dtype: Any) -> None:
    """Convert the weights that are used by matrix products alone: autocast would convert them again in every run."""
    for node in module.graph.nodes:
        if node.op == "get_attr" and node.users and all(_name(user) in _LOWERED for user in node.users):
            weight = getattr(module, node.target)
            if isinstance(weight, torch.Tensor) and weight.dtype == torch.float32:
                setattr(module, node.target, weight.to(dtype))


def _name(node: Any) -> str:
    return str(getattr(node.target, "__name__", "")).partition(".")[0]


def _state(archive: Archive) -> dict[str, Any]:
    """Parameters, buffers and constants by name."""
    if "byteorder" in archive and archive.read("byteorder") != b"little":
        raise ModelError("the weights are of a big-endian machine", got=archive.location, expected="little-endian")
    state: dict[str, Any] = {}
    for name in archive.members:
        if name.startswith(("data/weights/", "data/constants/")) and name.endswith("_config.json"):
            folder = name.rpartition("/")[0]
            config = archive.json(name)["config"]
            state |= {key: _raw(archive, folder, key, payload) for key, payload in config.items()}
        elif name in _PICKLED:
            state |= _pickled(archive, name)
    return state


def _raw(archive: Archive, folder: str, key: str, payload: Mapping[str, Any]) -> Any:
    """A tensor from the bytes of its storage."""
    if payload["use_pickle"] is not False or payload["tensor_meta"] is None:
        message = f"{key!r} is a pickled object, and reading it would run code"
        fix = "export without tensor subclasses"
        raise ModelError(message, got=archive.location, expected="plain tensors", fix=fix)
    return _tensor(bytearray(archive.read(f"{folder}/{payload['path_name']}")), payload["tensor_meta"])


def _tensor(data: bytearray, meta: Mapping[str, Any]) -> Any:
    """The tensor over the bytes of a storage."""
    dtype = _dtype(meta["dtype"])
    shape = [int(size["as_int"]) for size in meta["sizes"]]
    needed = math.prod(shape) * dtype.itemsize
    if needed > _EXPANDED_RATIO * len(data):
        raise ValueError(f"a tensor of shape {shape} in {len(data)} bytes")
    if not data:
        return torch.zeros(shape, dtype=dtype)
    strides = [int(size["as_int"]) for size in meta["strides"]]
    return torch.frombuffer(data, dtype=dtype).as_strided(shape, strides, int(meta["storage_offset"]["as_int"]))


def _pickled(archive: Archive, name: str) -> dict[str, Any]:
    """Tensors of an older archive; sample inputs are not looked at. Nothing but tensors is unpickled."""
    data = archive.read(name)
    if not data:
        return {}
    try:
        if data[:2] != b"PK":  # other forms of pickle are older still, and had holes
            raise ValueError("not a zip")
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # pickle.UnpicklingError, and whatever a damaged file brings about
        message = "the weights of the exported program are pickled objects, and reading them would run code"
        fix = "load and save it again with PyTorch 2.9 or later"
        raise ModelError(message, got=f"{archive.location}: {name}", expected="plain tensors", fix=fix) from error
    return {str(key): value for key, value in loaded.items() if isinstance(value, torch.Tensor)}


def _main(module: Mapping[str, Any], tensors: Mapping[str, Any], device: str) -> Any:
    """The whole graph of the program as a module."""
    graph = module["graph"]
    signature = module["signature"]
    builder = _Builder(device)
    for spec in signature["input_specs"]:
        _add_input(builder, spec, graph["tensor_values"], tensors)
    builder.run(graph["nodes"])
    outputs = [spec["user_output"]["arg"] for spec in signature["output_specs"]]
    return builder.finish(tuple(builder.argument(arg) for arg in outputs if "as_none" not in arg))


def _add_input(
    builder: _Builder, spec: Mapping[str, Any], values: Mapping[str, Any], tensors: Mapping[str, Any]
) -> None:
    """A tensor of the model, or one that the user gives; inputs that are no tensors are constants."""
    ((kind, value),) = spec.items()
    if kind in _STATE:
        builder.values[value["arg"]["name"]] = builder.weight(tensors[value[_STATE[kind]]].detach())
    elif kind == "user_input" and "as_tensor" in value["arg"]:
        name = value["arg"]["as_tensor"]["name"]
        builder.input(name, values[name]["dtype"])
    elif kind not in ("user_input", "constant_input"):
        raise ModelError(f"the exported program has an input that is not a tensor: {kind}", got=kind)


class _Builder:
    """A torch.fx graph under construction: `values` are its nodes by the names of the file."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self._root = torch.nn.Module()
        self._graph = fx.Graph()
        self._count = 0
        self.values: dict[str, Any] = {}

    def weight(self, tensor: Any) -> Any:
        """A node that gives a tensor of the model."""
        name = self._fresh("w")
        self._root.register_buffer(name, tensor)
        return self._graph.get_attr(name)

    def input(self, name: str, dtype: int | None = None) -> None:
        """The next input; one of bfloat16 comes as float32, since NumPy has none."""
        value = self._graph.placeholder(self._fresh("x"))
        if dtype == _BFLOAT16:
            value = self._graph.call_function(torch.ops.aten.to.dtype, (value, torch.bfloat16))
        self.values[name] = value

    def run(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        """Add all nodes."""
        for node in nodes:
            target = str(node["target"])
            if target.split(".")[-2:-1] and target.split(".")[-2] in _CHECKS:
                continue
            function = resolve(target)
            args, kwargs = self._arguments(function, node["inputs"])
            if target.endswith("wrap_with_autocast"):
                args = (self._device.type, *args[1:])
            self._bind(self._graph.call_function(function, args, kwargs), function, node)

    def finish(self, outputs: Any) -> Any:
        """The module."""
        self._graph.output(outputs)
        return fx.GraphModule(self._root, self._graph)

    def argument(self, value: Mapping[str, Any]) -> Any:
        """What an argument of the file stands for."""
        ((kind, held),) = value.items()
        if kind in _PLAIN:
            return _PLAIN[kind](held)
        if kind == "as_device":
            return self._device
        if kind == "as_graph":
            return self._part(held["graph"])
        if kind == "as_nested_tensors":
            return [[self.values[t["name"]] for t in part] for part in held]
        if kind in _MANY:
            return [self._one(item) for item in held]
        return self._one(held)

    def _one(self, held: Mapping[str, Any]) -> Any:
        """A tensor or a size by its name, or a plain value."""
        if "as_tensor" in held:
            held = held["as_tensor"]
        for key, value in held.items():
            if key in ("name", "as_name"):
                return self.values[value]
            if key == "as_none":
                return None
            return _number(value)
        raise ValueError("an empty argument")

    def _arguments(self, function: Any, inputs: Sequence[Mapping[str, Any]]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments: as the file marks them, or by their place in the schema."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        names = _positional_names(function)
        for spec in inputs:
            value = self.argument(spec["arg"])
            kind = spec.get("kind")
            in_order = _is_next(names, len(args), spec["name"])
            if kind == _POSITIONAL or (kind != _KEYWORD and not kwargs and in_order):
                args.append(value)
            else:
                kwargs[spec["name"]] = value
        return tuple(args), kwargs

    def _bind(self, result: Any, function: Any, node: Mapping[str, Any]) -> None:
        """Give the node's results their names."""
        outputs = node["outputs"]
        if len(outputs) == 1 and _is_single(function, node):
            self._name(outputs[0], result)
            return
        if len(outputs) == 1 and "as_tensors" in outputs[0]:
            outputs = [{"as_tensor": tensor} for tensor in outputs[0]["as_tensors"]]
        for place, output in enumerate(outputs):
            if "as_none" not in output:
                self._name(output, self._graph.call_function(operator.getitem, (result, place)))

    def _name(self, output: Mapping[str, Any], result: Any) -> None:
        self.values[_name_in(output)] = result

    def _part(self, graph: Mapping[str, Any]) -> Any:
        """A part of the graph, as control flow takes it."""
        part = _Builder(str(self._device))
        for value in graph["inputs"]:
            part.input(_name_in(value))
        part.run(graph["nodes"])
        outputs: Any = tuple(part.argument(output) for output in graph["outputs"])
        if graph.get("is_single_tensor_return"):
            (outputs, *_) = outputs
        name = self._fresh("part")
        self._root.add_module(name, part.finish(outputs))
        return self._graph.get_attr(name)

    def _fresh(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"


def _name_in(value: Mapping[str, Any]) -> str:
    """The name of the tensor or size that a value of the file stands for."""
    ((_, held),) = value.items()
    held = held.get("as_tensor", held)
    return str(held.get("name", held.get("as_name")))


def _positional_names(function: Any) -> list[str] | None:
    """Names of the arguments of an operator that may be positional; None where it has no schema."""
    schema = getattr(function, "_schema", None)
    if schema is None:
        return None
    return [argument.name for argument in schema.arguments if not argument.kwarg_only]


def _is_next(names: Sequence[str] | None, place: int, name: str) -> bool:
    """Whether the positional argument at `place` is `name`; of an operator without a schema any may be."""
    return names is None or list(names[place : place + 1]) == [name]


def _is_single(function: Any, node: Mapping[str, Any]) -> bool:
    schema = getattr(function, "_schema", None)
    if schema is not None:
        return len(schema.returns) == 1 and "as_tensors" not in node["outputs"][0]
    if isinstance(function, torch._ops.HigherOrderOperator):
        return node.get("is_hop_single_tensor_return") is not False and "as_tensors" not in node["outputs"][0]
    return True


def resolve(target: str) -> Any:
    """The operator of that name. Raises ModelError for anything but operators that compute."""
    place, _, name = target.rpartition(".")
    module, names = _MODULES.get(place, (None, ()))
    function = getattr(module, name, None) if name in names else _operator(target)
    if function is None:
        message = "the exported program uses an operator that framepace does not run"
        fix = "use the backend onnxruntime or tensorrt with an ONNX export of the model"
        raise ModelError(message, got=target, expected="operators of PyTorch that compute", fix=fix)
    return function


def _operator(target: str) -> Any:
    parts = target.split(".")
    if len(parts) != 5 or parts[:2] != ["torch", "ops"] or parts[2] not in NAMESPACES or parts[3] in FORBIDDEN:
        return None
    if parts[2] == "torchvision":
        with suppress(ImportError):  # it registers its operators
            importlib.import_module("torchvision")
    overload = getattr(getattr(getattr(torch.ops, parts[2]), parts[3], None), parts[4], None)
    if not isinstance(overload, torch._ops.OpOverload):
        return None
    return overload


def _dtype(code: int) -> Any:
    return getattr(torch, DTYPES[code])


def _number(value: Any) -> Any:
    if isinstance(value, str):
        return _FLOATS.get(value, value)
    return value


def _floats(values: Sequence[Any]) -> list[Any]:
    return [_number(value) for value in values]


_PLAIN: Mapping[str, Callable[[Any], Any]] = {
    "as_none": lambda _: None,
    "as_int": int,
    "as_ints": list,
    "as_float": _number,
    "as_floats": _floats,
    "as_bool": bool,
    "as_bools": list,
    "as_string": str,
    "as_strings": list,
    "as_scalar_type": _dtype,
    "as_memory_format": _FORMATS.__getitem__,
    "as_layout": lambda code: {7: torch.strided}[code],
    "as_complex": lambda c: complex(c["real"], c["imag"]),
    "as_int_lists": list,
    "as_float_lists": lambda parts: [_floats(part) for part in parts],
}
_MANY = ("as_tensors", "as_sym_ints", "as_sym_floats", "as_sym_bools", "as_optional_tensors")
