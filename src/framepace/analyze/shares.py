"""What a part of a device's SMs costs and brings, beside the same on all of them. Pure."""

from __future__ import annotations

from framepace.facts.summary import Summary

_LITTLE = 0.05


def share_sentence(name: str, part: Summary, whole: Summary) -> str:
    """Frames per second and kernels with `name` ('sms=50%'), as multiples of those on all SMs, and what that means."""
    rate = part.throughput / max(whole.throughput, 1e-9)
    text = f"{name}: {rate:.2f}x the frames/s of all SMs"
    kernels = [summary.frames.parts.get("compute", 0.0) for summary in (part, whole)]
    if all(kernels):
        text += f", kernels take {kernels[0] / kernels[1]:.2f}x as long"
    return f"{text}: {_verdict(rate)}"


def _verdict(rate: float) -> str:
    if rate > 1 + _LITTLE:
        return "the limit pays"
    if rate < 1 - _LITTLE:
        return "the limit costs more than it brings"
    return "the limit costs nothing and brings nothing"
