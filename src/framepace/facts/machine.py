"""The machine that measured: the environment that travels with every trace."""

from __future__ import annotations

import hashlib

from framepace.facts.base import Fact


class Gpu(Fact, frozen=True, kw_only=True):
    """One GPU as its driver describes it; memory in bytes, clocks in MHz, power in mW, the PCIe link at its widest.

    Values that the driver does not give are None. `power_limit_mw` is the one in force; `compute_mode` is 'default',
    'prohibited' or 'exclusive process'.
    """

    name: str
    memory_bytes: int
    driver: str
    compute_capability: str | None = None
    sm_clock_max_mhz: int | None = None
    power_limit_mw: int | None = None
    uuid: str | None = None
    pci_bus_id: str | None = None
    ecc: bool | None = None
    persistence: bool | None = None
    power_limit_default_mw: int | None = None
    memory_clock_max_mhz: int | None = None
    sm_count: int | None = None
    pcie_generation_max: int | None = None
    pcie_lanes_max: int | None = None
    mig: bool = False
    compute_mode: str | None = None


class Machine(Fact, frozen=True, kw_only=True):
    """CPU, memory, system, GPUs and library versions of the machine that measured.

    `cores_usable` of the logical ones are those that the process could run on; `system_busy` in telemetry is of them.
    """

    cpu: str
    cores_physical: int
    cores_logical: int
    memory_bytes: int
    system: str
    kernel: str
    python: str
    governor: str | None = None
    idle_driver: str | None = None
    virtual: str | None = None
    container: bool = False
    cpu_limit: float | None = None
    cores_usable: int | None = None
    gpus: tuple[Gpu, ...] = ()
    libraries: dict[str, str] = {}

    @property
    def fingerprint(self) -> str:
        """A hash of CPU, cores and GPUs: traces with the same one can be compared."""
        parts = [self.cpu, str(self.cores_logical), str(self.cpu_limit), *(g.name for g in self.gpus)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
