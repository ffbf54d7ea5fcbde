"""The GPUs of a trace: their state while frames were measured, and how copies and kernels shared their time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from framepace.facts.device import EVENT_REASONS, LIMITING, DeviceSummary, Spread
from framepace.facts.plan import ModelPlan
from framepace.facts.trace import TELEMETRY_COLUMNS, Column, Trace
from framepace.units import NS_PER_S

_OF_DEVICE = tuple(TELEMETRY_COLUMNS)[2 : tuple(TELEMETRY_COLUMNS).index("cpu_mhz")]
_NO_QUANTITY = ("event_reasons", "energy_mj")
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


def device_summary(trace: Trace, sizes: Sizes | None = None) -> tuple[DeviceSummary, ...]:
    """Each GPU that telemetry sampled or a model ran on (see facts.device), past warm-up, in order of its number.

    Models without a device in the plan are those of device 0. Telemetry of a single GPU is that of the only one in
    use, whatever their numbers.

    Args:
        sizes: bytes to and from the device a frame, by model, for the bandwidth of the copies.
    """
    measured = trace.measured()
    work = inferences(measured)
    names = trace.meta.names
    place = _devices_of_models(trace)[work["model"]]
    sampled = np.unique(trace.telemetry["device"][trace.telemetry["device"] >= 0])
    if len(sampled) == 1 and len(np.unique(place)) == 1:
        place = np.full_like(place, sampled[0])
    span = _span(measured)
    return tuple(
        _summary(device, _telemetry(trace, device, span), _where(work, place == device), span, names, sizes or {})
        for device in np.unique(np.concatenate([sampled, place])).tolist()
    )


def _devices_of_models(trace: Trace) -> Column:
    """The number of the GPU of each model; 0 where a program's trace does not say."""
    if not trace.meta.is_plan:
        return np.zeros(len(trace.meta.names), np.int64)
    return np.array([ordinal(model) for model in trace.meta.plan.models], dtype=np.int64)


def inferences(trace: Trace) -> dict[str, Column]:
    """Inferences whose time on the device is known, one row each: the rows of a batch share theirs.

    Columns are those of requests that tell of the device, in the order of the kernels' start.
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
    """How kernels shared the time of one device with what other inferences had on it, exactly, in O(n log n).

    A sweep over the ends of all intervals: between two of them, c kernels and p copies run, and each of the c has
    company when c + p > 1. An inference's own copies come before and after its kernels (their stamps may say
    otherwise, by the little that the device's clock is out), so none of the others is its own.

    Args:
        work: columns as `inferences` has them, of one device.
    """
    kernels, copies = _intervals(work)
    # Each end of an interval is an event: where it is, and by how much it changes the kernels and the copies running.
    steps = ((kernels[:, 0], 1, 0), (kernels[:, 1], -1, 0), (copies[:, 0], 0, 1), (copies[:, 1], 0, -1))
    at = np.concatenate([times for times, _, _ in steps])
    change = np.concatenate([np.full((len(times), 2), (c, p)) for times, c, p in steps])
    order = np.argsort(at, kind="stable")
    c, p = np.cumsum(change[order], axis=0)[:-1].T if len(at) else np.empty((2, 0), dtype=np.int64)
    length = np.diff(at[order])

    def kernel_time(where: NDArray[np.bool_]) -> int:
        return int((length * c)[where].sum())

    return Overlap(
        busy=int(length[c > 0].sum()),
        compute=int((kernels[:, 1] - kernels[:, 0]).sum()),
        beside_any=kernel_time(c + p > 1),
        beside_kernels=kernel_time(c > 1),
        beside_copies=kernel_time(p > 0),
    )


def _intervals(work: Rows) -> tuple[Column, Column]:
    """Kernels and copies as (n, 2) starts and ends; copies that are none left out."""
    began, ended = work["compute_at"], work["compute_at"] + work["compute"]
    up = np.stack([work["h2d_at"], np.minimum(work["h2d_at"] + work["h2d"], began)], axis=1)
    down = np.stack([np.maximum(work["d2h_at"], ended), work["d2h_at"] + work["d2h"]], axis=1)
    known = np.concatenate([work["h2d_at"] >= 0, work["d2h_at"] >= 0])
    copies = np.concatenate([up, down])
    return np.stack([began, ended], axis=1), copies[known & (copies[:, 1] > copies[:, 0])]


def _summary(
    device: int, t: Rows, work: Rows, span: tuple[int, int], names: Sequence[str], sizes: Sizes
) -> DeviceSummary:
    found = overlap(work)
    up, down = (_bandwidth(work, name, names, sizes) for name in ("h2d", "d2h"))
    whole, kernels = max(1, span[1] - span[0]), max(1, found.compute)
    known = len(work["compute"]) > 0
    return DeviceSummary(
        device=device,
        samples=len(t["time"]),
        medians=_medians(t),
        sm_clock=_range(t["sm_clock_mhz"]),
        energy_mj=_energy(t["energy_mj"]),
        reasons=_reasons(t["event_reasons"]),
        limited=_share(t["event_reasons"], LIMITING),
        inferences=len(work["compute"]),
        busy=min(1.0, found.busy / whole) if known else None,
        overlap=found.beside_any / kernels if known else None,
        overlap_kernels=found.beside_kernels / kernels if known else None,
        overlap_copies=found.beside_copies / kernels if known else None,
        h2d_bytes_s=up,
        d2h_bytes_s=down,
        launch_delay=_spread(work["compute_at"] - work["started"], work["started"] >= 0),
        wake_up=_spread(work["finished"] - _device_end(work), work["finished"] >= 0),
    )


def _device_end(work: Rows) -> Column:
    """When an inference's last work on the device was done: the copy of its outputs, where there was one."""
    copied = work["d2h_at"] >= 0
    return np.where(copied, work["d2h_at"] + work["d2h"], work["compute_at"] + work["compute"])


def _bandwidth(work: Rows, name: str, names: Sequence[str], sizes: Sizes) -> float | None:
    """Bytes a second of the copies of one direction, of the models whose sizes are known."""
    each = np.array([sizes.get(model, (0, 0))[name == "d2h"] for model in names], dtype=np.int64)[work["model"]]
    rows = (work[name] > 0) & (work[f"{name}_at"] >= 0) & (each > 0)
    spent = int(work[name][rows].sum())
    return float((each * work["batch_size"])[rows].sum()) / spent * NS_PER_S if spent else None


def _spread(values: Column, known: NDArray[np.bool_]) -> Spread | None:
    values = values[known]
    if not len(values):
        return None
    median, p99 = np.quantile(values, [0.5, 0.99])
    return Spread(median=float(median), p99=float(p99))


def _where(columns: Rows, keep: NDArray[np.bool_]) -> dict[str, Column]:
    return {name: column[keep] for name, column in columns.items()}


def _span(measured: Trace) -> tuple[int, int]:
    """From the first due time to the last delivery, ns."""
    r = measured.requests
    return (int(r["due"].min()), int(r["delivered"].max())) if len(measured) else (0, 0)


def _telemetry(trace: Trace, device: int, span: tuple[int, int]) -> dict[str, Column]:
    """Samples of a device within the span; all of them when that is under two."""
    t = trace.telemetry
    own = t["device"] == device
    inside = own & (t["time"] >= span[0]) & (t["time"] <= span[1])
    return _where(t, inside if np.count_nonzero(inside) >= 2 else own)


def _medians(t: Rows) -> dict[str, float]:
    columns = {name: t[name][t[name] >= 0] for name in _OF_DEVICE if name not in _NO_QUANTITY}
    return {name: float(np.median(values)) for name, values in columns.items() if len(values)}


def _range(values: Column) -> tuple[int, int] | None:
    known = values[values >= 0]
    return (int(known.min()), int(known.max())) if len(known) else None


def _energy(values: Column) -> int | None:
    known = values[values >= 0]
    return int(known[-1] - known[0]) if len(known) >= 2 else None


def _reasons(bits: Column) -> dict[str, float]:
    shares = {name: _share(bits, bit) for bit, name in EVENT_REASONS.items()}
    return {name: share for name, share in shares.items() if share}


def _share(bits: Column, mask: int) -> float | None:
    known = bits[bits >= 0]
    return float(np.mean((known & mask) != 0)) if len(known) else None
