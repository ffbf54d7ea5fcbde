"""What analysis says of a GPU in a trace: its state while frames were measured, and how full its time was."""

from __future__ import annotations

from collections.abc import Mapping

from framepace.facts.base import Fact

# Bits of the telemetry column `event_reasons`: why the clock is not higher (nvml.h, nvmlClocksEventReason*).
EVENT_REASONS: Mapping[int, str] = {
    0x001: "idle",
    0x002: "application clocks",
    0x004: "software power cap",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "software thermal slowdown",
    0x040: "hardware thermal slowdown",
    0x080: "hardware power brake",
    0x100: "display clocks",
    0x200: "board limit",
    0x400: "reliability",
}
IDLE, APPLICATION_CLOCKS = 0x001, 0x002
SIMULATED = "simulated: these durations come from a model of a device, not from measurements"
# Reasons that slow down a busy device: power and heat.
LIMITING = 0x004 | 0x008 | 0x020 | 0x040 | 0x080 | 0x200 | 0x400


def reason_names(bits: int) -> tuple[str, ...]:
    """The reasons in a bit set in words; an unknown bit as its number in hexadecimal."""
    known = [name for bit, name in EVENT_REASONS.items() if bits & bit]
    rest = bits & ~sum(EVENT_REASONS)
    return (*known, hex(rest)) if rest > 0 else tuple(known)


class Spread(Fact, frozen=True, kw_only=True):
    """The middle and the tail of a duration, ns."""

    median: float
    p99: float


class DeviceSummary(Fact, frozen=True, kw_only=True):
    """One GPU while frames were measured; None is what was not measured. Shares are of 1.

    From telemetry: `medians` of its columns by name, in their units; `sm_clock` the lowest and the highest, MHz;
    `energy_mj` used between the first and the last sample; `reasons` the share of samples with each clock-event
    reason, `limited` with any that slows it down (power, heat).

    From the times of inferences on the device: `busy` is the share of the time with any kernel running; `overlap` the
    share of kernel time in which another inference's copy or kernel ran too, `overlap_kernels` and `overlap_copies`
    the same for each alone; `h2d_bytes_s` and `d2h_bytes_s` the bandwidth of the copies; `launch_delay` from the
    inference's start on the host to its kernels' on the device, the copy between them included; `wake_up` from the
    end of its work on the device to the outputs in the worker's hands.
    """

    device: int
    samples: int = 0
    medians: dict[str, float] = {}
    sm_clock: tuple[int, int] | None = None
    energy_mj: int | None = None
    reasons: dict[str, float] = {}
    limited: float | None = None
    inferences: int = 0
    busy: float | None = None
    overlap: float | None = None
    overlap_kernels: float | None = None
    overlap_copies: float | None = None
    h2d_bytes_s: float | None = None
    d2h_bytes_s: float | None = None
    launch_delay: Spread | None = None
    wake_up: Spread | None = None
