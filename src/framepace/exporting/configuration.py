"""Triton's configuration of a model, from a plan: what its scheduler, its instances and its backend do.

Fields as in Triton's model_config.proto; parameters as in the README of each backend.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from framepace.exporting.pbtxt import Message, Symbol
from framepace.exporting.subject import Subject
from framepace.facts.model import TensorSpec
from framepace.facts.plan import ModelPlan
from framepace.models.resolved import Image
from framepace.openinference.datatypes import DATATYPES
from framepace.units import NS_PER_MS, NS_PER_US
from framepace.video.prepare import affine

_US_PER_MS = NS_PER_MS // NS_PER_US
LEVELS = {"basic": -1, "extended": 1, "off": 2, False: 2}
SWITCHES = {"arena": "enable_mem_arena", "mem_pattern": "enable_mem_pattern"}
CUDA_OPTIONS = {"algorithms": "cudnn_conv_algo_search", "tf32": "use_tf32", "nhwc": "prefer_nhwc"}
ALGORITHMS = {"0": "exhaustive", "1": "heuristic", "2": "default"}  # as parameters of a model number them
PREPARED = "_prepare"
NETWORK = "_network"
_SIDES = {"nchw": (-2, -1), "nhwc": (-3, -2)}


def network(subject: Subject, name: str) -> Message:
    """The configuration of the network itself."""
    message: Message = {"name": name, **_runtime(subject), "max_batch_size": _largest(subject)}
    message["input"] = [_input(subject, tensor) for tensor in subject.resolved.inputs]
    message["output"] = _outputs(subject)
    message["instance_group"] = [_instances(subject)]
    if subject.batched:
        message["dynamic_batching"] = batching(subject)
    message |= {"optimization": optimization(subject), "parameters": _parameters(subject)}
    message["model_warmup"] = list(_warm_up(subject))
    return {field: value for field, value in message.items() if value not in ({}, [])}


def _runtime(subject: Subject) -> Message:
    """The backend, by the name that Triton has for it."""
    if subject.runtime == "tensorrt":
        return {"platform": "tensorrt_plan"}
    return {"backend": subject.runtime}


def _largest(subject: Subject) -> int:
    """The largest batch; 0 for a network that takes none."""
    return subject.model.batch.max if subject.batched else 0


def _outputs(subject: Subject) -> list[Message]:
    return [_tensor(tensor, tensor.shape, subject.batched) for tensor in subject.spec.outputs]


def _input(subject: Subject, tensor: TensorSpec) -> Message:
    """An input in its shape; pictures that keep their own size leave it open."""
    shape: list[int | str] = list(subject.resolved.shapes[tensor.name])
    image = subject.resolved.image
    if image is not None and image.name == tensor.name and subject.model.is_native:
        for axis in _SIDES[image.layout]:
            shape[axis] = "open"
    return _tensor(tensor, shape, subject.batched)


def _tensor(tensor: TensorSpec, shape: Iterable[int | str], batched: bool) -> Message:
    sizes = [size if isinstance(size, int) else -1 for size in shape]
    return {"name": tensor.name, "data_type": _type(tensor.dtype), "dims": sizes[int(batched) :] or [1]}


def _type(dtype: str) -> Symbol:
    """Triton's name of a dtype in configurations."""
    name = DATATYPES[dtype]
    return Symbol("TYPE_STRING" if name == "BYTES" else f"TYPE_{name}")


def _instances(subject: Subject) -> Message:
    group: Message = {"count": subject.instances, "kind": Symbol("KIND_GPU" if subject.on_gpu else "KIND_CPU")}
    if subject.on_gpu:
        group["gpus"] = [int((subject.model.device or "cuda").partition(":")[2] or 0)]
    return group


def batching(subject: Subject) -> Message:
    """How requests share an inference, and how long they may wait for one."""
    plan = subject.model.batch
    message: Message = {"max_queue_delay_microseconds": 0}
    if plan.policy == "window":
        message["max_queue_delay_microseconds"] = round(plan.window_ms * _US_PER_MS)
    sizes = [size for size in plan.sizes if size <= plan.max]
    if sizes:
        message["preferred_batch_size"] = sizes
    policy = _queue(subject)
    if policy:
        message["default_queue_policy"] = policy
    return message


def _queue(subject: Subject) -> Message:
    """Requests that came too late are refused, where the plan lets frames go: a camera's are worthless then."""
    source = subject.plan.source
    patience_ms = source.stale_ms
    if source.drop == "oldest" and patience_ms is None:
        patience_ms = subject.plan.target.budget_ms
    if patience_ms is None:
        return {}
    timeout = max(1, round(patience_ms * _US_PER_MS))
    return {
        "timeout_action": Symbol("REJECT"),
        "default_timeout_microseconds": timeout,
        "allow_timeout_override": True,
    }


def optimization(subject: Subject) -> Message:
    """What the backend is asked to do with the network."""
    model = subject.model
    message: Message = {}
    if subject.on_gpu and model.transfer == "pageable":
        message |= {"input_pinned_memory": {"enable": False}, "output_pinned_memory": {"enable": False}}
    if subject.runtime == "tensorrt" and model.graph:
        message["cuda"] = {"graphs": True}
    level = LEVELS.get(model.options.get("optimisation", "all"))
    if subject.runtime in ("onnxruntime", "python") and level is not None:
        message["graph"] = {"level": level}
    accelerator = _accelerator(subject)
    if accelerator:
        message["execution_accelerators"] = {"gpu_execution_accelerator": [accelerator]}
    return message


def _accelerator(subject: Subject) -> Message:
    """The execution provider of ONNX Runtime on a GPU, where it is given options."""
    model = subject.model
    options: dict[str, Any] = {}
    name = "cuda"
    if subject.accelerated:
        name = "tensorrt"
        options = {"precision_mode": model.precision.upper(), "trt_engine_cache_enable": 1}
        options |= {"trt_cuda_graph_enable": 1} if model.graph else {}
    elif subject.runtime == "onnxruntime" and subject.on_gpu:
        options = _cuda(model.options)
    pairs = [{"key": key, "value": str(value)} for key, value in options.items()]
    return {"name": name, "parameters": pairs} if pairs else {}


def _cuda(options: Any) -> dict[str, Any]:
    """Options of the CUDA execution provider, by its own names."""
    chosen: dict[str, Any] = {}
    for key, name in CUDA_OPTIONS.items():
        if key in options:
            value = options[key]
            chosen[name] = int(value) if isinstance(value, bool) else str(value).upper()
    if "memory_mb" in options:
        chosen["gpu_mem_limit"] = int(options["memory_mb"]) << 20
    return chosen


def _parameters(subject: Subject) -> list[Message]:
    """Parameters of the backend: threads, and how ONNX Runtime runs."""
    model = subject.model
    values: dict[str, Any] = {}
    if subject.runtime == "pytorch":
        values = {"INTRA_OP_THREAD_COUNT": model.threads} if model.threads else {}
    elif subject.runtime in ("onnxruntime", "python"):
        values = _onnxruntime(subject)
    return [{"key": key, "value": {"string_value": str(value)}} for key, value in values.items()]


def _onnxruntime(subject: Subject) -> dict[str, Any]:
    model = subject.model
    options = model.options
    values: dict[str, Any] = {"intra_op_thread_count": model.threads} if model.threads else {}
    if "inter_threads" in options:
        values["inter_op_thread_count"] = options["inter_threads"]
    if options.get("execution") == "parallel":
        values["execution_mode"] = 1
    values |= {name: int(bool(options[key])) for key, name in SWITCHES.items() if key in options}
    if subject.runtime == "python":  # Triton's own backend hands no such entries on
        values |= _entries(model)
    return values


def _entries(model: ModelPlan) -> dict[str, Any]:
    """Entries of ONNX Runtime's session, as they are."""
    values: dict[str, Any] = {}
    if not model.spinning:
        values = {f"session.{pool}.allow_spinning": 0 for pool in ("intra_op", "inter_op")}
    return values | {key: value for key, value in model.options.items() if key.startswith("session.")}


def _warm_up(subject: Subject) -> Iterable[Message]:
    """One inference of each batch size that is set up, with random numbers of the real shapes."""
    for size in subject.model.batch.prepared_sizes if subject.batched else (1,):
        inputs = []
        for tensor in subject.resolved.inputs:
            described = _input(subject, tensor)
            if -1 in described["dims"] or described["data_type"] == "TYPE_STRING":
                return
            content = {"data_type": described["data_type"], "dims": described["dims"], "random_data": True}
            inputs.append({"key": tensor.name, "value": content})
        yield {"name": f"batch of {size}", "batch_size": size if subject.batched else 0, "inputs": inputs}


def prepare(subject: Subject, name: str) -> Message:
    """The configuration of the python model that prepares pictures for the network."""
    image = subject.resolved.image
    assert image is not None
    tensor = next(t for t in subject.resolved.inputs if t.name == image.name)
    described = json.dumps(_preparation(subject.model, image))
    return {
        "name": name,
        "backend": "python",
        "max_batch_size": _largest(subject),
        "input": [picture()],
        "output": [_input(subject, tensor)],
        "instance_group": [{"count": subject.instances, "kind": Symbol("KIND_CPU")}],
        "parameters": [{"key": "prepare", "value": {"string_value": described}}],
    }


def _preparation(model: ModelPlan, image: Image) -> dict[str, Any]:
    """What the python model reads; a picture that keeps its size is given none."""
    how = model.prepare
    factors: list[tuple[float, float]] = [(1, 0)] * image.channels
    if "float" in image.dtype:
        factors = affine(how, image.channels)
    return {
        "resize": how.resize,
        "colour": how.colour,
        "layout": image.layout,
        "channels": image.channels,
        "size": None if model.is_native else [image.height, image.width],
        "factors": factors,
        "pad_value": how.pad_value,
    }


def picture() -> Message:
    """The input that takes a picture: RGB, of any size."""
    return {"name": "picture", "data_type": Symbol("TYPE_UINT8"), "dims": [-1, -1, 3]}


def ensemble(subject: Subject, name: str) -> Message:
    """Both together under the model's name: a picture goes in, the network's outputs come out."""
    image = subject.resolved.image
    assert image is not None
    outputs = [tensor.name for tensor in subject.spec.outputs]
    first = _step(f"{name}{PREPARED}", {"picture": "picture"}, {image.name: "prepared"})
    second = _step(f"{name}{NETWORK}", {image.name: "prepared"}, {output: output for output in outputs})
    return {
        "name": name,
        "platform": "ensemble",
        "max_batch_size": _largest(subject),
        "input": [picture()],
        "output": _outputs(subject),
        "ensemble_scheduling": {"step": [first, second]},
    }


def _step(model: str, inputs: dict[str, str], outputs: dict[str, str]) -> Message:
    maps = {"input_map": inputs, "output_map": outputs}
    pairs = {name: [{"key": k, "value": v} for k, v in entries.items()] for name, entries in maps.items()}
    return {"model_name": model, "model_version": -1, **pairs}
