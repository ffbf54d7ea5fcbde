"""What a plan cannot say of a configuration of Triton, field by field: whatever is not read is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from framepace.exporting.configuration import CUDA_OPTIONS, SWITCHES
from framepace.exporting.pbtxt import Message, keyed, listed

# Fields that become settings, or that mean nothing outside a server.
_READ = frozenset(
    ("name", "backend", "platform", "max_batch_size", "parameters", "input.name", "input.data_type",
     "input.dims", "input.format", "output.name", "output.data_type", "output.dims",
     "default_model_filename",
     "model_warmup", "instance_group.name", "instance_group.count", "instance_group.kind", "instance_group.gpus",
     "dynamic_batching.preferred_batch_size", "dynamic_batching.max_queue_delay_microseconds",
     "dynamic_batching.default_queue_policy.timeout_action", "version_policy.latest", "version_policy.all",
     "dynamic_batching.default_queue_policy.default_timeout_microseconds", "version_policy.specific.versions",
     "dynamic_batching.default_queue_policy.allow_timeout_override", "optimization.cuda.graphs",
     "optimization.graph.level", "optimization.input_pinned_memory", "optimization.output_pinned_memory",
     "optimization.execution_accelerators.gpu_execution_accelerator")
)  # fmt: skip
_OPENED = frozenset(path[:end] for path in _READ for end, letter in enumerate(path) if letter == ".")
_WHY = {
    "sequence_batching": "states of sequences: name them with --state INPUT=OUTPUT",
    "input.reshape": "the plan has the network's own shape",
    "output.reshape": "outputs have the network's own shape",
    "input.optional": "every input is given with each frame",
    "input.allow_ragged_batch": "frames of one batch have one shape",
    "output.label_filename": "names of classes: --set names=FILE",
    "response_cache": "answers are not cached",
    "model_transaction_policy": "one answer per request",
    "model_operations": "operators of your own: a library's option",
    "batch_input": "inputs that the server makes of a batch",
    "batch_output": "outputs that the server divides by itself",
    "cc_model_filenames": "one file for all devices",
    "instance_group.rate_limiter": "all workers run when they can",
    "dynamic_batching.priority_levels": "frames of a source come in their order, none before others",
    "dynamic_batching.default_priority_level": "all frames have one",
    "dynamic_batching.priority_queue_policy": "all frames wait alike",
    "dynamic_batching.preserve_ordering": "results of a source come in its order",
    "dynamic_batching.default_queue_policy.max_queue_size": "a queue is bounded by time",
}
_OWN_PARAMETERS = frozenset(
    (
        "intra_op_thread_count",
        "INTRA_OP_THREAD_COUNT",
        "inter_op_thread_count",
        "execution_mode",
        *SWITCHES.values(),
        *CUDA_OPTIONS.values(),
        "gpu_mem_limit",
    )
)
_ACCELERATORS = {
    "tensorrt": frozenset(("precision_mode", "trt_cuda_graph_enable", "trt_engine_cache_enable")),
    "cuda": frozenset((*CUDA_OPTIONS.values(), "gpu_mem_limit")),
}
_ENTRY = "session."  # of ONNX Runtime: handed on as it is


def losses(name: str, message: Message) -> Iterator[str]:
    """What a plan cannot say of the configuration of model `name`, as sentences."""
    for path in _unread(message):
        why = f" ({_WHY[path]})" if path in _WHY else ""
        yield f"{name}: {path} is left out{why}"
    yield from (f"{name}: {problem}" for problem in (*_of_instances(message), *_of_waiting(message)))
    strange = [key for key in keyed(message, "parameters") if key not in _OWN_PARAMETERS and not key.startswith(_ENTRY)]
    if strange:
        yield f"{name}: parameters are left out: {', '.join(strange)}"
    accelerators = message.get("optimization", {}).get("execution_accelerators", {})
    for accelerator in listed(accelerators, "gpu_execution_accelerator"):
        yield from (f"{name}: {problem}" for problem in _of_accelerator(accelerator))


def _unread(message: Message, place: str = "") -> Iterator[str]:
    """Fields that say something and are not read, each by the names that lead to it."""
    for key, value in message.items():
        path = f"{place}{key}"
        if path in _OPENED:
            for part in listed(message, key):
                yield from _unread(part, f"{path}.")
        elif path not in _READ and _says_something(value):
            yield path


def _says_something(value: Any) -> bool:
    """Whether anything in a field is other than its default: zero or false. An empty message switches something on."""
    if isinstance(value, Mapping):
        return not value or any(map(_says_something, value.values()))
    return any(map(_says_something, value)) if isinstance(value, list) else bool(value)


def _of_instances(message: Message) -> Iterator[str]:
    """Devices beyond the one that a model of a plan has."""
    groups = listed(message, "instance_group")
    gpus = sorted({int(gpu) for group in groups for gpu in listed(group, "gpus")})
    if len(gpus) > 1:
        words = ", ".join(map(str, gpus))
        yield f"instances on GPUs {words}: a model of a plan has one device, the first (run --ray uses all)"
    kinds = sorted({str(group["kind"]) for group in groups if "kind" in group})
    if len(kinds) > 1:
        yield f"instances of {' and '.join(kinds)}: a model of a plan has one device"


def _of_waiting(message: Message) -> Iterator[str]:
    """What is done with requests that waited too long, where they are not refused."""
    policy = message.get("dynamic_batching", {}).get("default_queue_policy", {})
    action = policy.get("timeout_action", "REJECT")
    if action != "REJECT" and policy.get("default_timeout_microseconds"):
        yield f"timeout_action {action} is left out (frames wait their turn, or are dropped)"


def _of_accelerator(accelerator: Message) -> Iterator[str]:
    """What an accelerator is told that no setting says."""
    name = str(accelerator.get("name"))
    if name not in _ACCELERATORS:
        yield f"the accelerator {name} is left out"
        return
    strange = [key for key in keyed(accelerator, "parameters") if key not in _ACCELERATORS[name]]
    if strange:
        yield f"parameters of the accelerator {name} are left out: {', '.join(strange)}"
