"""The parameters of the simulated device and of the network that runs on it. All are backend options, by these names.

Every effect can be switched off: by 0 where nothing else is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_type_hints

from msgspec import Meta

from framepace.facts.base import Fact


def _least(low: float, text: str) -> Meta:
    return Meta(ge=low, description=text)


def _above(low: float, text: str) -> Meta:
    return Meta(gt=low, description=text)


def _share(text: str) -> Meta:
    return Meta(ge=0, le=1, description=text)


class DeviceModel(Fact, frozen=True, kw_only=True):
    """A GPU and the host it hangs on. The defaults are a device with every effect off: an ideal one at one clock.

    Units are in the names: MHz, ms, us, W, GB/s (10^9 bytes per second), TFLOPS (10^12 per second; a multiplication and
    an addition count as two).
    """

    # What it can do
    sm_count: Annotated[int, _least(1, "streaming multiprocessors")] = 100
    fp32_tflops: Annotated[float, _least(0, "peak arithmetic in fp32 at the boost clock; 0: not supported")] = 10.0
    fp16_tflops: Annotated[float, _least(0, "peak in fp16 at the boost clock; 0: not supported")] = 80.0
    bf16_tflops: Annotated[float, _least(0, "peak in bf16 at the boost clock; 0: not supported")] = 80.0
    int8_tops: Annotated[float, _least(0, "peak in int8 at the boost clock; 0: not supported")] = 160.0
    fp16_multiple: Annotated[int, _least(1, "rows that tensor cores take together in fp16 and bf16; 1: any")] = 1
    int8_multiple: Annotated[int, _least(1, "rows that tensor cores take together in int8; 1: any")] = 1
    uneven_share: Annotated[
        float, Meta(gt=0, le=1, description="share of the peak that products reach whose rows are no such multiple")
    ] = 1.0
    dram_gb_s: Annotated[float, _above(0, "bandwidth of the device's memory")] = 1000.0
    memory_gb: Annotated[float, _above(0, "size of the device's memory")] = 16.0
    memory_mhz: Annotated[int, _least(0, "memory clock, as telemetry shows it")] = 1000
    kernel_us: Annotated[float, _least(0, "least time of a kernel on the device")] = 0.0
    serialise: Annotated[bool, Meta(description="all workers share one stream, whatever the plan says")] = False

    # Clocks
    idle_mhz: Annotated[int, _least(1, "SM clock of a device without work")] = 1000
    base_mhz: Annotated[int, _least(1, "SM clock that a light load never falls below")] = 1000
    boost_mhz: Annotated[int, _least(1, "highest SM clock")] = 1000
    step_mhz: Annotated[int, _least(1, "step of the SM clock")] = 15
    idle_delay_ms: Annotated[float, _least(0, "time without work after which the clock falls to idle; 0: never")] = 0.0
    load_share: Annotated[
        float, _share("share of the time busy that the clock falls to reach under a lighter load; 0: never")
    ] = 0.0
    load_hold_ms: Annotated[float, _least(0, "time for which the load stays lighter before the clock falls")] = 0.0
    load_fall_ms: Annotated[
        float, _least(0, "time in which it then falls from boost to idle, latency rising evenly; 0: as fall_ms")
    ] = 0.0
    load_window_ms: Annotated[float, _least(0, "time constant over which the load is averaged")] = 0.0
    fall_ms: Annotated[float, _least(0, "time in which the clock falls from boost to idle")] = 0.0
    rise_ms: Annotated[float, _least(0, "time in which the clock rises from idle to boost")] = 0.0

    # Power and heat
    idle_w: Annotated[float, _least(0, "idle power")] = 0.0
    dynamic_w: Annotated[float, _least(0, "power on top of that with SMs and memory fully busy at boost")] = 0.0
    dram_power_share: Annotated[float, _share("part of the dynamic power that the memory takes")] = 0.3
    power_exponent: Annotated[float, _least(0, "exponent of dynamic power over the clock")] = 2.5
    power_limit_w: Annotated[float, _least(0, "average power above which the clock is lowered; 0: no limit")] = 0.0
    power_window_ms: Annotated[float, _least(0, "time constant over which power is averaged")] = 100.0
    ambient_c: Annotated[float, _least(-50, "temperature of the surroundings")] = 30.0
    heating_c_per_w: Annotated[float, _least(0, "rise over the surroundings per watt in the steady state")] = 0.0
    heating_s: Annotated[float, _above(0, "time constant of the temperature")] = 30.0
    thermal_limit_c: Annotated[float, _least(0, "temperature above which the clock is lowered; 0: no limit")] = 0.0

    # Copies
    pinned_gb_s: Annotated[float, _above(0, "bandwidth of copies from and to page-locked memory")] = 10.0
    pageable_gb_s: Annotated[float, _above(0, "bandwidth of copies from and to pageable memory")] = 5.0
    copy_us: Annotated[float, _least(0, "fixed time of a copy")] = 0.0
    pcie_generation: Annotated[int, _least(0, "generation of the link, as telemetry shows it; 0: none")] = 4
    pcie_lanes: Annotated[int, _least(0, "lanes of the link, as telemetry shows it; 0: none")] = 16

    # The host
    launch_us: Annotated[float, _least(0, "host time to launch a kernel")] = 0.0
    graph_us: Annotated[float, _least(0, "host time to launch a CUDA graph")] = 0.0
    block_us: Annotated[float, _least(0, "delay of a worker that gave its core up while it waited")] = 0.0
    cpu_gflops: Annotated[float, _above(0, "arithmetic of the host, for nodes that fall back to it")] = 100.0
    sleep_after_us: Annotated[float, _least(0, "shortest halt of the worker's core that counts as sleep")] = 200.0
    doze_share: Annotated[float, _share("part of the sleep that comes at once; the rest is deep sleep")] = 0.42
    doze_ms: Annotated[float, _above(0, "time constant with which that part comes while the core is halted")] = 0.5
    sleep_ms: Annotated[float, _above(0, "time constant with which the deep sleep comes")] = 25.0
    awake_ms: Annotated[float, _above(0, "time constant with which a spinning core wakes")] = 8.0
    work_ms: Annotated[float, _above(0, "time constant with which an inference wakes it")] = 0.05
    wake_us: Annotated[float, _least(0, "host time at the start of a request after the deepest sleep")] = 0.0
    asleep_us: Annotated[float, _least(0, "first part of the kernels that the deepest sleep slows")] = 0.0
    asleep_factor: Annotated[float, _least(0, "how much longer that part takes, on top of its own time")] = 0.0

    # Caches, chance and the rest
    cold_us: Annotated[float, _least(0, "time to refill caches after a long pause of the same model")] = 0.0
    cold_ms: Annotated[float, _above(0, "time constant with which they grow cold")] = 10.0
    context_us: Annotated[float, _least(0, "time to change between processes, whose kernels take turns")] = 0.0
    context_mb: Annotated[float, _least(0, "device memory that each process takes beside its models (10^6 bytes)")] = (
        0.0
    )
    evict_us: Annotated[float, _least(0, "time to refill what another model's run has evicted")] = 0.0
    jitter: Annotated[float, _least(0, "sigma of the lognormal factor on the time of the kernels")] = 0.0
    stall_share: Annotated[float, _share("share of requests whose host stalls")] = 0.0
    stall_ms: Annotated[float, _least(0, "length of such a stall")] = 0.0
    page_share: Annotated[
        float, _share("share of requests before which the host waits for a page from a disk, unless memory is locked")
    ] = 0.0
    page_ms: Annotated[float, _least(0, "time for such a page")] = 0.0
    tick_ms: Annotated[float, _above(0, "period of governor and telemetry")] = 10.0
    seed: Annotated[int, _least(0, "seed of jitter and stalls")] = 0

    def multiple(self, precision: str) -> int:
        """Rows that a matrix product is padded to in a precision; 1 where tensor cores do not compute it."""
        return {"fp32": 1, "fp16": self.fp16_multiple, "bf16": self.fp16_multiple, "int8": self.int8_multiple}[
            precision
        ]

    def peak(self, precision: str) -> float:
        """Operations per second in a precision at the boost clock; 0 where the device has none."""
        rates = {"fp32": self.fp32_tflops, "fp16": self.fp16_tflops, "bf16": self.bf16_tflops, "int8": self.int8_tops}
        return rates[precision] * 1e12


class NetworkModel(Fact, frozen=True, kw_only=True):
    """A network as the device sees it; what an inference of one item takes, in fp32."""

    kernels: Annotated[int, _least(1, "kernels of an inference")] = 40
    gflops: Annotated[float, _least(0, "arithmetic of one item (10^9 operations)")] = 2.0
    mbytes: Annotated[float, _least(0, "activations that one item reads and writes in fp32 (10^6 bytes)")] = 20.0
    weights_mb: Annotated[float, _least(0, "weights that each inference reads in fp32 (10^6 bytes)")] = 10.0
    blocks: Annotated[float, _above(0, "thread blocks of a kernel for one item, on average")] = 100.0
    fixed_us: Annotated[float, _least(0, "time at the boost clock of layers that no batch makes longer")] = 0.0
    product_share: Annotated[float, _share("share of the arithmetic in matrix products whose rows are the batch")] = 0.0
    efficiency: Annotated[float, Meta(gt=0, le=1, description="share of the peak arithmetic that is reached")] = 0.5
    int8_share: Annotated[float, _share("share of the arithmetic that runs in int8 where the plan says so")] = 1.0
    dram_efficiency: Annotated[float, Meta(gt=0, le=1, description="share of the memory bandwidth that is reached")] = (
        0.8
    )
    fallback_share: Annotated[float, _share("share of the nodes that run on the CPU")] = 0.0
    shapes_us: Annotated[
        float, _least(0, "host time in which nodes on the CPU compute shapes; none with shapes=fixed")
    ] = 0.0
    new_size_ms: Annotated[
        float, _least(0, "host time to set up a batch size that a worker meets for the first time")
    ] = 0.0
    own_process: Annotated[bool, Meta(description="the model runs in a process of its own")] = False
    fail_at: Annotated[int, _least(-1, "request that fails; -1: none")] = -1


def described(kind: type[Any]) -> Mapping[str, str]:
    """The fields of a struct above, each with its sentence."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        name: next(m.description for m in hint.__metadata__ if isinstance(m, Meta) and m.description)
        for name, hint in hints.items()
        if hasattr(hint, "__metadata__")
    }
