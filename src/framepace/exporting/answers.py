"""What becomes of each setting of a plan in Triton: expressed, approximated, in the file, or not, and what that costs.

A test holds that every setting of `facts.settings` has an answer, and that what is said to change the repository does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from framepace.exporting.subject import Subject
from framepace.facts.exported import AnswerKind, SettingAnswer
from framepace.facts.plan import EnginePlan, ModelPlan, SourcePolicy
from framepace.facts.settings import SETTINGS, Setting, value_text

Words = tuple[AnswerKind, str, str]
_Rule = Callable[[Subject], Words]
_PARTS: Mapping[str, Any] = {"engine": EnginePlan(), "source": SourcePolicy()}


def answers(subject: Subject) -> list[SettingAnswer]:
    """An answer for every setting, in the order in which people read them."""
    return [_answer(subject, setting) for setting in SETTINGS.values()]


def _answer(subject: Subject, setting: Setting) -> SettingAnswer:
    value, changed = _value(subject, setting)
    kind, how, cost = RULES[setting.name](subject)
    text = "" if value is None and not changed else value_text(setting.name, value)
    return SettingAnswer(
        model=subject.model.name, setting=setting.name, value=text, changed=changed, kind=kind, how=how, cost=cost
    )


def _value(subject: Subject, setting: Setting) -> tuple[Any, bool]:
    """The plan's value of a setting, and whether it is not the default."""
    if setting.part == "models":
        default = ModelPlan(name=subject.model.name, model=subject.model.model)
        value = _at(subject.model, setting.field)
        return value, value != _at(default, setting.field)
    if setting.part not in _PARTS:
        return None, False
    value = _at(getattr(subject.plan, setting.part), setting.field)
    return value, value != _at(_PARTS[setting.part], setting.field)


def _at(fact: Any, path: str) -> Any:
    for name in path.split("."):
        fact = getattr(fact, name)
    return fact


def _always(kind: AnswerKind, how: str, cost: str = "") -> _Rule:
    return lambda subject: (kind, how, cost)


def _by_runtime(rules: Mapping[str, Words], otherwise: Words) -> _Rule:
    return lambda subject: rules.get(subject.runtime, otherwise)


def _if_batched(how: str, kind: AnswerKind = "expressed", cost: str = "") -> _Rule:
    alone: Words = ("not expressible", "the network takes no batches: each request runs alone", "")
    return lambda subject: (kind, how, cost) if subject.batched else alone


def _of_pictures(how: str) -> _Rule:
    """A part of the preparation: by the server's python model, folded into the network, or by the client."""

    def rule(subject: Subject) -> Words:
        if subject.prepares:
            return "expressed", f"{how}, in the model {subject.model.name}_prepare", ""
        return "client", "the client sends pictures of the network's size, as it takes them", ""

    return rule


def _arithmetic(subject: Subject) -> Words:
    if subject.model.prepare.place == "graph":
        return "in the file", "folded into the network, which takes uint8", ""
    return _of_pictures("value = (pixel * scale - mean) / std")(subject)


def _threads(subject: Subject) -> Words:
    if subject.runtime == "tensorrt" or subject.accelerated:
        return "not expressible", "TensorRT computes on the GPU", ""
    name = "INTRA_OP_THREAD_COUNT" if subject.runtime == "pytorch" else "intra_op_thread_count"
    return "expressed", f"parameter {name}, per instance", ""


def _precision(subject: Subject) -> Words:
    if subject.model.precision == "fp32":
        return "in the file", "as it is", ""
    if subject.accelerated:
        return "expressed", "precision_mode of the TensorRT accelerator", ""
    return "in the file", "converted as the plan runs it", ""


def _graph(subject: Subject) -> Words:
    if subject.runtime == "tensorrt":
        return "expressed", "optimization.cuda.graphs", ""
    if subject.accelerated:
        return "expressed", "trt_cuda_graph_enable of the TensorRT accelerator", ""
    return "not expressible", "Triton captures graphs for TensorRT only", "host time to launch each kernel (FP005)"


def _policy(subject: Subject) -> Words:
    if not subject.batched:
        return _if_batched("")(subject)
    if subject.model.batch.policy == "window":
        return "expressed", "window-ms becomes max_queue_delay_microseconds", ""
    how = "no delay: what waits while all instances are busy shares a batch"
    return "approximated", how, "a batch does not wait for as long as the budget would allow"


def _stale(subject: Subject) -> Words:
    if not subject.batched:
        return "not expressible", "only the dynamic batcher has timeouts", "late requests run all the same"
    if subject.plan.source.stale_ms is None:
        return "expressed", "no timeout of its own", ""
    how = "default_queue_policy: REJECT after it, counted from the arrival at the server"
    return "approximated", how, "time on the way does not count"


def _drop(subject: Subject) -> Words:
    if not subject.batched:
        return _stale(subject)
    if subject.plan.source.drop == "never":
        return "expressed", "requests wait as long as it takes", ""
    how = "a request that waited for the budget is refused (REJECT)"
    return "approximated", how, "not the oldest of a source is dropped, but whatever waited too long"


def _transfer(subject: Subject) -> Words:
    if not subject.on_gpu:
        return "not expressible", "nothing is copied on a CPU", ""
    if subject.model.transfer == "device":
        return "measuring", "exported as pinned", ""
    return "expressed", "input_pinned_memory and output_pinned_memory", ""


def _workers(subject: Subject) -> Words:
    return "expressed", "instance_group.count", ""


_PARALLEL = "models are independent there: each has its own instances"
_CPU_BOUND = "the process's own: start tritonserver that way"
_DECODING = "clients decode, and send pictures"
_MEASURED = "for measuring only"
_COOLS = "clocks and caches cool (FP001, FP003)"
_LATE = "wake-ups of the server's threads, as the system has them (FP002)"
RULES: Mapping[str, _Rule] = {
    "model": _always("in the file", "copied; the name stays"),
    "batch": _if_batched("max_batch_size"),
    "window-ms": _if_batched("max_queue_delay_microseconds"),
    "batch-policy": _policy,
    "batch-sizes": _if_batched(
        "preferred_batch_size, and warmed up", "approximated", "a size is waited for within the delay only"
    ),
    "threads": _threads,
    "spinning": _by_runtime(
        {"python": ("expressed", "session.intra_op.allow_spinning", "")},
        ("not expressible", "the onnxruntime backend hands no such entry on", "idle threads spin (FP013)"),
    ),
    "precision": _precision,
    "backend": _always("expressed", "the backend of Triton that runs such a file"),
    "size": _always("expressed", "dims of the network's input"),
    "resize": _of_pictures("as the plan says"),
    "layout": _of_pictures("as the network takes it"),
    "colour": _of_pictures("order of the channels"),
    "scale": _arithmetic,
    "mean": _arithmetic,
    "std": _arithmetic,
    "pad-value": _of_pictures("grey around a letterboxed picture"),
    "prepare-constant": _always("measuring", _MEASURED),
    "prepare-place": _always(
        "expressed", "graph: folded into the network; host, device: an ensemble with a python model"
    ),
    "prepare-hook": _always("not expressible", "your code: call it before you send", "the server prepares without it"),
    "post": _always("client", "outputs are tensors: framepace.postprocess reads them"),
    "score": _always("client", "of whoever reads the outputs"),
    "iou": _always("client", "of whoever reads the outputs"),
    "names": _always("client", "of whoever reads the outputs"),
    "track": _always("client", "of whoever reads the outputs"),
    "after": _always("client", "of whoever sends the requests: the boxes of one model, cut out, to the next"),
    "crop": _always("client", "of whoever cuts them out"),
    "crops": _always("client", "of whoever cuts them out"),
    "crop-names": _always("client", "of whoever cuts them out"),
    "device": _always("expressed", "instance_group: kind and gpus"),
    "slots": _always(
        "not expressible", "an instance has one request in flight", "copies of one request overlap no other's kernels"
    ),
    "transfer": _transfer,
    "graph": _graph,
    "stream": _always("not expressible", "each instance has its own stream, and one request at a time"),
    "sms": _always("not expressible", "no green contexts: MPS, set where the server starts", "instances share all SMs"),
    "nvtx": _always("not expressible", "Triton's own builds have ranges of their own"),
    "calibration": _always("in the file", "the ranges are in it"),
    "calibration-method": _always("in the file", "the ranges are in it"),
    "fp32-nodes": _always("in the file", "they stay in FP32"),
    "workers": _workers,
    "strategy": _always("approximated", _PARALLEL, "which models of a frame overlap is up to the client"),
    "decode": _always("client", _DECODING),
    "wait": _always("not expressible", "Triton sleeps", _LATE),
    "spin-us": _always("not expressible", "Triton sleeps", _LATE),
    "keeper": _always("not expressible", "nothing keeps cores awake", _LATE),
    "heartbeat-ms": _always(
        "not expressible", "warm-up runs once, at the start", "clocks and caches cool (FP001, FP003)"
    ),
    "gc": _always("not expressible", "Triton's backends in C++ have none"),
    "lock-memory": _always("not expressible", _CPU_BOUND),
    "nice": _always("not expressible", _CPU_BOUND),
    "finish": _always("client", "of whoever gets the answers"),
    "buffer": _always("not expressible", "a queue per model, not per source", "a fast source may fill it"),
    "drop": _drop,
    "stale-ms": _stale,
    "scope": _always("measuring", _MEASURED),
    "seed": _always("measuring", _MEASURED),
    "frames": _always("measuring", _MEASURED),
    "cameras": _always("client", "requests come from clients"),
    "fps": _always("client", "requests come from clients; the budget is in the queue's policy"),
    "delay-ms": _always("measuring", _MEASURED),
    "concurrency": _always("measuring", _MEASURED),
    "shapes": _always("in the file", "fixed where the plan says so"),
    "slow": _always("measuring", _MEASURED),
}
"""What is said of each setting."""
