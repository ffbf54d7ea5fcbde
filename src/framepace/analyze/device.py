"""The GPUs of a trace: their state while frames were measured, and how copies and kernels shared their time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from framepace.facts.device import EVENT_REASONS, LIMITING, DeviceSummary, Spread
from framepace.facts.plan import ModelPlan
from framepace.facts.trace import TELEMETRY_COLUMNS, Column, Trace
from framepace.units import NS_PER_S

_OF_DEVICE = tuple(TELEMETRY_COLUMNS)[2 : tuple(TELEMETRY_COLUMNS).index("cpu_mhz")]
_NO_QUANTITY = ("event_reasons", "energy_mj")
_STEPS = ((1, 0), (-1, 0), (0, 1), (0, -1))  # change of the number of running kernels and copies at a start or end
_TIMES = ("started", "finished", "h2d", "compute", "d2h", "h2d_at", "compute_at", "d2h_at", "model", "batch_size")

Sizes = Mapping[str, tuple[int, int]]
Rows = Mapping[str, Column]


class Overlap(NamedTuple):
    """Times in ns: with any kernel running; of all kernels; of those beside another's copy or kernel, and by kind."""

    busy: int
    compute: int
    beside_any: int
    beside_kernels: int
    beside_copies: int


def device_summary(measured: Trace, sizes: Sizes | None = None) -> tuple[DeviceSummary, ...]:
    """Each GPU that telemetry sampled or a model ran on (see facts.device), past warm-up, in order of its number.

    Models without a device in the plan are those of device 0. Telemetry of a single GPU is that of the only one in
    use, whatever their numbers.

    Args:
        measured: the delivered rows past warm-up (`Trace.measured`).
        sizes: bytes to and from the device per frame, by model, for the bandwidth of the copies.
    """
    work = inferences(measured)
    devices = measured.telemetry["device"]
    sampled = np.unique(devices[devices >= 0])
    place = _places(measured, work, sampled)
    span = _span(measured)
    bytes_per_frame = _bytes_per_frame(measured, sizes or {})
    return tuple(
        _summary(device, _telemetry(measured, device, span), _where(work, place == device), span, bytes_per_frame)
        for device in np.unique(np.concatenate([sampled, place])).tolist()
    )


def _bytes_per_frame(measured: Trace, sizes: Sizes) -> Column:
    """A row (to the device, from it) per model; zeros where the sizes are not known."""
    pairs = [sizes.get(model, (0, 0)) for model in measured.meta.names]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _places(measured: Trace, work: Rows, sampled: Column) -> Column:
    """The number of the GPU of each inference; `sampled` are those that telemetry knows."""
    place = _devices_of_models(measured)[work["model"]]
    if len(sampled) == 1 and len(np.unique(place)) == 1:
        return np.full_like(place, sampled[0])
    return place


def _devices_of_models(trace: Trace) -> Column:
    """The number of the GPU of each model; 0 where a program's trace does not say."""
    if not trace.meta.is_plan:
        return np.zeros(len(trace.meta.names), np.int64)
    return np.array([ordinal(model) for model in trace.meta.plan.models], dtype=np.int64)


def inferences(trace: Trace) -> dict[str, Column]:
    """Inferences whose time on the device is known, one row each: the rows of a batch share theirs.

    Columns are the requests' times on the device, in the order of the kernels' start.
    """
    r = trace.requests
    rows = np.flatnonzero((r["compute_at"] >= 0) & (r["compute"] >= 0))
    keys = [r[name][rows] for name in ("worker", "model", "batch_id", "compute_at")]
    order = np.lexsort(keys)  # by the last first: in order of the kernels' start
    differs = [np.diff(key[order], prepend=key[order[:1]] - 1) != 0 for key in keys]
    rows = rows[order[np.logical_or.reduce(differs)]]
    return {name: r[name][rows] for name in _TIMES}


def ordinal(model: ModelPlan) -> int:
    """The number of the GPU that a plan gives a model."""
    return int((model.device or "cuda").partition(":")[2] or 0)


def overlap(work: Rows) -> Overlap:
    """How kernels shared the time of one device with other inferences' work, exactly, in O(n log n).

    A sweep over the ends of all intervals: between two of them, c kernels and p copies run, and each of the c has
    company when c + p > 1. An inference's own copies come before and after its kernels (their stamps may say
    otherwise, by the little that the device's clock is out), so none of the others is its own.

    Args:
        work: columns as `inferences` has them, of one device.
    """
    kernels, copies = _intervals(work)
    length, c, p = _running(kernels, copies)
    kernel_time = length * c
    return Overlap(
        busy=int(length[c > 0].sum()),
        compute=int((kernels[:, 1] - kernels[:, 0]).sum()),
        beside_any=int(kernel_time[c + p > 1].sum()),
        beside_kernels=int(kernel_time[c > 1].sum()),
        beside_copies=int(kernel_time[p > 0].sum()),
    )


def _running(kernels: Column, copies: Column) -> tuple[Column, Column, Column]:
    """The spans between two ends of intervals: their lengths (ns), and the kernels and the copies that run in each."""
    # Each end of an interval is an event: where it is, and by how much it changes the kernels and the copies running.
    at = np.concatenate([kernels.T.ravel(), copies.T.ravel()])
    change = np.repeat(_STEPS, np.repeat([len(kernels), len(copies)], 2), axis=0)
    order = np.argsort(at, kind="stable")
    c, p = np.cumsum(change[order], axis=0)[:-1].T
    return np.diff(at[order]), c, p


def _intervals(work: Rows) -> tuple[Column, Column]:
    """Kernels and copies as (n, 2) starts and ends; empty copies are left out."""
    up, kernels, down = (_interval(work, name) for name in ("h2d", "compute", "d2h"))
    up[:, 1] = np.minimum(up[:, 1], kernels[:, 0])
    down[:, 0] = np.maximum(down[:, 0], kernels[:, 1])
    copies = np.concatenate([up[work["h2d_at"] >= 0], down[work["d2h_at"] >= 0]])
    return kernels, copies[copies[:, 1] > copies[:, 0]]


def _interval(work: Rows, name: str) -> Column:
    """(n, 2) starts and ends of one part of the inferences."""
    start = work[f"{name}_at"]
    return np.stack([start, start + work[name]], axis=1)


def _summary(device: int, t: Rows, work: Rows, span: tuple[int, int], bytes_per_frame: Column) -> DeviceSummary:
    """One GPU; `bytes_per_frame` has a row (to the device, from it) per model."""
    sizes = bytes_per_frame[work["model"]]
    return DeviceSummary(
        device=device,
        samples=len(t["time"]),
        medians=_medians(t),
        sm_clock=_range(t["sm_clock_mhz"]),
        energy_mj=_energy(t["energy_mj"]),
        reasons=_reasons(t["event_reasons"]),
        limited=_share(t["event_reasons"], LIMITING),
        inferences=len(work["compute"]),
        **_shares(work, span),
        h2d_bytes_s=_bandwidth(work, "h2d", sizes[:, 0]),
        d2h_bytes_s=_bandwidth(work, "d2h", sizes[:, 1]),
        launch_delay=_spread((work["compute_at"] - work["started"])[work["started"] >= 0]),
        wake_up=_spread((work["finished"] - _device_end(work))[work["finished"] >= 0]),
    )


def _shares(work: Rows, span: tuple[int, int]) -> dict[str, float]:
    """How much of the span any kernel ran, and how much of the kernels' time they shared; empty without inferences."""
    if not len(work["compute"]):
        return {}
    shared = overlap(work)
    kernels = max(1, shared.compute)
    return {
        "busy": min(1.0, shared.busy / max(1, span[1] - span[0])),
        "overlap": shared.beside_any / kernels,
        "overlap_kernels": shared.beside_kernels / kernels,
        "overlap_copies": shared.beside_copies / kernels,
    }


def _device_end(work: Rows) -> Column:
    """When an inference's last work on the device was done: the copy of its outputs, where there was one."""
    copied = work["d2h_at"] >= 0
    return np.where(copied, work["d2h_at"] + work["d2h"], work["compute_at"] + work["compute"])


def _bandwidth(work: Rows, name: str, size: Column) -> float | None:
    """Bytes per second of the copies of one direction; `size` is bytes per frame, 0 where it is not known."""
    rows = (work[name] > 0) & (work[f"{name}_at"] >= 0) & (size > 0)
    spent = int(work[name][rows].sum())
    if not spent:
        return None
    return float((size * work["batch_size"])[rows].sum()) / spent * NS_PER_S


def _spread(values: Column) -> Spread | None:
    if not len(values):
        return None
    median, p99 = np.quantile(values, [0.5, 0.99])
    return Spread(median=float(median), p99=float(p99))


def _where(columns: Rows, keep: NDArray[np.bool_]) -> dict[str, Column]:
    return {name: column[keep] for name, column in columns.items()}


def _span(measured: Trace) -> tuple[int, int]:
    """From the first due time to the last delivery, ns."""
    if not len(measured):
        return 0, 0
    return int(measured.requests["due"].min()), int(measured.requests["delivered"].max())


def _telemetry(trace: Trace, device: int, span: tuple[int, int]) -> dict[str, Column]:
    """Samples of a device within the span; all of them when that is under two."""
    t = trace.telemetry
    samples = t["device"] == device
    inside = samples & (t["time"] >= span[0]) & (t["time"] <= span[1])
    if np.count_nonzero(inside) >= 2:
        samples = inside
    return _where(t, samples)


def _medians(t: Rows) -> dict[str, float]:
    columns = {name: t[name][t[name] >= 0] for name in _OF_DEVICE if name not in _NO_QUANTITY}
    return {name: float(np.median(values)) for name, values in columns.items() if len(values)}


def _range(values: Column) -> tuple[int, int] | None:
    values = values[values >= 0]
    if not len(values):
        return None
    return int(values.min()), int(values.max())


def _energy(values: Column) -> int | None:
    values = values[values >= 0]
    if len(values) < 2:
        return None
    return int(values[-1] - values[0])


def _reasons(bits: Column) -> dict[str, float]:
    shares = {name: _share(bits, bit) for bit, name in EVENT_REASONS.items()}
    return {name: share for name, share in shares.items() if share}


def _share(bits: Column, mask: int) -> float | None:
    bits = bits[bits >= 0]
    if not len(bits):
        return None
    return float(np.mean((bits & mask) != 0))
