"""What ONNX Runtime's basic optimisation makes of a model: constants folded, normalisations in the convolutions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

# A protobuf message cannot be larger than 2 GiB; graph and names need room beside the weights.
LARGEST = (2 << 30) - (64 << 20)
_NO_LOG = 4  # severity: what fails comes as an exception too


def weight_bytes(proto: Any) -> int:
    """Bytes of the weights in memory, without serialising the model, which fails above 2 GiB."""
    return sum(len(tensor.raw_data) + 4 * len(tensor.float_data) for tensor in weights(proto))


def weights(proto: Any) -> Iterator[Any]:
    """All constant tensors: initialisers, and those in Constant nodes."""
    yield from proto.graph.initializer
    yield from (a.t for node in proto.graph.node if node.op_type == "Constant" for a in node.attribute)


def optimised_file(proto: Any, folder: Path) -> Path:
    """The file of the model after ONNX Runtime's basic optimisation and shape inference.

    An optimisation that fails (operators that ONNX Runtime does not know) or that brings operators of ONNX Runtime's
    own is not used: the file is for other libraries too.
    """
    import onnx
    from onnx.shape_inference import infer_shapes_path

    target = folder / "shaped.onnx"
    source = saved(proto, folder / "source.onnx")
    large = weight_bytes(proto) > LARGEST
    optimised = _by_runtime(source, folder / "optimised.onnx", _domains(proto), large)
    infer_shapes_path(str(optimised), str(target))
    # ONNX Runtime names every set of operators it knows, in its own versions: other libraries need not know them.
    shaped = onnx.load(target, load_external_data=False)
    opsets = [o for o in shaped.opset_import if o.domain in ("", "ai.onnx", *_domains(shaped))]
    del shaped.opset_import[:]
    shaped.opset_import.extend(opsets)
    target.write_bytes(shaped.SerializeToString())
    return target


def _by_runtime(source: Path, target: Path, domains: set[str], large: bool) -> Path:
    """`target`, optimised; or `source` where that is no model for everybody."""
    import onnx
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = _NO_LOG
    if large:
        key = "session.optimized_model_external_initializers_file_name"
        options.add_session_config_entry(key, f"{target.name}.data")
    try:
        ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    except Exception:  # ONNX Runtime raises its own classes; the converter says what it cannot do with the model
        return source
    if _domains(onnx.load(target, load_external_data=False)) <= domains:
        return target
    return source


def _domains(proto: Any) -> set[str]:
    """Sets of operators that a model uses, in branches and functions too."""
    nodes = [*proto.graph.node, *(node for function in proto.functions for node in function.node)]
    return {node.domain for outer in nodes for node in inner_nodes(outer) if node.domain != "ai.onnx"}


def inner_nodes(node: Any) -> Iterator[Any]:
    """The node, and those of its branches."""
    yield node
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from inner_nodes(inner)


def reads(node: Any) -> Iterator[str]:
    """What a node reads, in its branches too."""
    for inner in inner_nodes(node):
        yield from inner.input


def saved(proto: Any, path: Path) -> Path:
    """The model as a file; weights that do not fit lie beside it. `proto` keeps its weights."""
    import onnx

    if weight_bytes(proto) <= LARGEST:
        onnx.save(proto, path)
        return path
    onnx.save(proto, path, save_as_external_data=True, location=f"{path.name}.data", convert_attribute=True)
    onnx.load_external_data_for_model(proto, str(path.parent))
    return path
