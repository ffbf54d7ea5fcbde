"""What ONNX Runtime says when an inference fails, in one line, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from framepace.errors import BackendError

NO_LOG = 4  # severity: its errors come as exceptions too, and each would be written to the terminal as well
_NODE = re.compile(r"while running (\S+) node\. Name:'([^']*)' Status Message: ")
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_SOURCE = re.compile(r"^\S+\.(?:h|cc|cu|cpp|hpp|cuh):\d+ ")
_DEVICE = re.compile("CUDA|CUDNN|CUBLAS")  # not the paths of its own sources, which have them in small letters
_CONDITION = re.compile(r"^.* was false\. ")


def reason(words: str) -> str:
    """The innermost node that failed and why: 'Reshape node: The input tensor cannot be reshaped ...'.

    ONNX Runtime names every node around it too, and where in its own source the check stands.
    """
    line = " ".join(words.split())
    nodes = _NODE.findall(line)
    cause = _NODE.split(line)[-1]
    cause = _PREFIX.sub("", cause)
    cause = _CONDITION.sub("", _SOURCE.sub("", cause))
    if not nodes:
        return cause
    kind, name = nodes[-1]
    if name:
        return f"{kind} node {name!r}: {cause}"
    return f"{kind} node: {cause}"


def of_device(words: str) -> bool:
    """Whether it was the device, or a library of its, that failed."""
    return _DEVICE.search(words) is not None


def inference_error(words: str, advice: str) -> BackendError:
    """The error for an inference that ONNX Runtime failed with these words."""
    return BackendError("ONNX Runtime cannot run it", got=reason(words), fix=advice)


def advice(
    count: int, runs_alone: Callable[[], bool], others: Iterable[str], running: Callable[[], str] = lambda: ""
) -> str:
    """What to do about a batch of `count` that failed.

    Args:
        runs_alone: tries one item of the batch.
        others: inputs that hold made-up values.
        running: looks for options with which it runs; '' where there are none.
    """
    if count > 1 and runs_alone():
        return "batches above 1 fail: --set batch=1, or export the model with a dynamic batch"
    options = running()
    if options:
        return f"give what the model expects, with your numbers; it runs with {options}"
    names = ", ".join(others)
    if names:
        return f"give what the model expects in {names}: --input NAME=VALUE, or NAME=FILE.npy"
    return "try another --size or --shape; the library alone fails alike on this input"
