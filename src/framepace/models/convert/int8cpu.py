"""CPUs that add INT8 products in too few bits, and whose files are for them."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

from framepace.facts.plan import ModelPlan

_CPUINFO = Path("/proc/cpuinfo")
_X86 = ("x86_64", "AMD64")


def is_narrow(model: ModelPlan) -> bool:
    """Whether INT8 weights of a plan must have 7 bits: where it runs, sums of products of 8 bits would saturate.

    Whoever quantises, and whoever emulates it, asks here.
    """
    return model.backend == "onnxruntime" and model.device in (None, "cpu") and saturates_int8()


@cache
def saturates_int8() -> bool:
    """Whether sums of INT8 products saturate here: on an x86 CPU without VNNI, which adds pairs of them in 16 bits.

    Weights of 7 bits fit there ('reduce_range' of ONNX Runtime's quantiser, which its documentation advises for such
    CPUs); false where it is not known.
    """
    return saturates(platform.machine(), _CPUINFO)


def saturates(machine: str, cpuinfo: Path) -> bool:
    """The same of a machine's architecture and what its kernel says of its CPU."""
    try:
        return machine in _X86 and "vnni" not in cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
