"""The demand of an inference on the device: times per resource, from network, plan and batch (pure)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from framepace.errors import UsageError
from framepace.simulate.parameters import DeviceModel, NetworkModel

_BYTES = {"fp32": 1.0, "fp16": 0.5, "bf16": 0.5, "int8": 0.25}  # of those in fp32


@dataclass(frozen=True)
class Demand:
    """One inference of a batch, alone on the device.

    `compute` is the time of the arithmetic at the boost clock, `memory` that of the bytes, `least` the minimum that so
    many kernels take (ns); the inference takes the longest of them. `part` is the share of all SMs that it may use,
    `filled` the share of those that its blocks occupy on average.
    """

    compute: float
    memory: float
    least: float
    filled: float
    part: float
    kernels: int
    tensor: bool


def demand(device: DeviceModel, network: NetworkModel, precision: str, batch: int, sms: int | None = None) -> Demand:
    """The demand of a batch on the device: blocks run in whole waves over the SMs; a wave takes as long as one block.

    Raises UsageError where the device does not have the precision.
    """
    usable_sms = min(sms or device.sm_count, device.sm_count)
    blocks = batch * network.blocks
    waves = math.ceil(blocks / usable_sms)
    in_waves = waves * _block_s(device, network, precision, batch) * 1e9
    compute = in_waves + network.fixed_us * 1000
    return Demand(
        compute=compute,
        memory=_moved_bytes(network, precision, batch) / (device.dram_gb_s * network.dram_efficiency),
        least=network.kernels * device.kernel_us * 1000,
        filled=_filled(blocks / (waves * usable_sms), in_waves, compute),
        part=usable_sms / device.sm_count,
        kernels=network.kernels,
        tensor=precision != "fp32",
    )


def _padding(device: DeviceModel, network: NetworkModel, precision: str, batch: int) -> float:
    """How many times the arithmetic takes because products are padded to the rows that tensor cores take together.

    A product with one row is a vector's: no tensor core computes it.
    """
    multiple = device.multiple(precision)
    if batch == 1 or batch % multiple == 0:
        return 1.0
    padded = math.ceil(batch / multiple) * multiple / batch
    return 1 - network.product_share + network.product_share * padded / device.uneven_share


def _block_s(device: DeviceModel, network: NetworkModel, precision: str, batch: int) -> float:
    """Time of the arithmetic of one thread block of a batch on one SM at the boost clock, s."""
    arithmetic = network.gflops * 1e9 * (1 - network.fallback_share) / network.blocks
    seconds = arithmetic / _rate(device, network, precision)
    if precision == "int8" and network.int8_share < 1:
        higher = arithmetic / _rate(device, network, "fp16")
        seconds = network.int8_share * seconds + (1 - network.int8_share) * higher
    return seconds * _padding(device, network, precision, batch)


def _rate(device: DeviceModel, network: NetworkModel, precision: str) -> float:
    """Operations per second of one SM in a precision at the boost clock."""
    rate = device.peak(precision) * network.efficiency / device.sm_count
    if rate <= 0:
        able = ", ".join(name for name in _BYTES if device.peak(name) > 0)
        raise UsageError("the simulated device does not have that precision", got=precision, expected=able)
    return rate


def _filled(in_waves: float, waves_ns: float, compute_ns: float) -> float:
    """The share of the SMs that blocks occupy on average; layers that no batch makes longer occupy one SM or two."""
    if not compute_ns:
        return in_waves
    return in_waves * waves_ns / compute_ns


def _moved_bytes(network: NetworkModel, precision: str, batch: int) -> float:
    """Bytes that a batch reads and writes in the device's memory."""
    in_fp32 = (network.weights_mb + batch * network.mbytes) * 1e6
    return in_fp32 * _BYTES[precision] * (1 - network.fallback_share)


def copy_ns(device: DeviceModel, size: int, pinned: bool, copies: int = 1) -> int:
    """Time of `copies` copies of `size` bytes together, ns; 0 where there is nothing to copy."""
    if not size:
        return 0
    gb_s = device.pageable_gb_s
    if pinned:
        gb_s = device.pinned_gb_s
    return round(copies * device.copy_us * 1000 + size / gb_s)


def fallback_ns(device: DeviceModel, network: NetworkModel, batch: int) -> int:
    """Time of the nodes that the host runs, and of the copies there and back, ns."""
    if not network.fallback_share:
        return 0
    arithmetic = batch * network.gflops * network.fallback_share / device.cpu_gflops * 1e9
    return round(arithmetic) + 2 * copy_ns(device, round(batch * network.mbytes * 1e6 * network.fallback_share), True)
