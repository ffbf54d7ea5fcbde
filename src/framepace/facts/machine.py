"""What a machine is: the environment that travels with every trace."""

from __future__ import annotations

import hashlib

from framepace.facts.base import Fact


class Gpu(Fact, frozen=True, kw_only=True):
    """One GPU as its driver describes it; memory in bytes, clocks in MHz, power in mW."""

    name: str
    memory_bytes: int
    driver: str
    compute_capability: str | None = None
    sm_clock_max_mhz: int | None = None
    power_limit_mw: int | None = None


class Machine(Fact, frozen=True, kw_only=True):
    """CPU, memory, system, GPUs and library versions of the machine that measured."""

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
    gpus: tuple[Gpu, ...] = ()
    libraries: dict[str, str] = {}

    @property
    def fingerprint(self) -> str:
        """What must be equal for two traces to be compared as the same machine: CPU, cores and GPUs, hashed."""
        parts = [self.cpu, str(self.cores_logical), str(self.cpu_limit), *(g.name for g in self.gpus)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
