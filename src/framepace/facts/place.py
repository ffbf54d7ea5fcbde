"""A place: one GPU of a cluster with its share of cores, or a share of the cores of a host without GPU."""

from __future__ import annotations

import hashlib

from framepace.facts.base import Fact
from framepace.facts.machine import Machine


class Site(Fact, frozen=True, kw_only=True):
    """Where something was measured: the place's name, what it is, and its `kind`, in which alone numbers compare."""

    name: str
    hardware: str
    kind: str


class Place(Fact, frozen=True, kw_only=True):
    """Where one actor works, alone.

    `number` counts the places of a cluster, `share` those of its host; `node` is Ray's id of the host. `device` is the
    index of its GPU on the host, None for a share of cores; `device_name` is None where the GPU is only a number to
    Ray. `memory_bytes` is that of the GPU, else the share of the host's. `here` says whether it is on this machine.
    """

    number: int
    host: str
    node: str
    share: int
    device: int | None
    device_name: str | None
    memory_bytes: int
    cores: float
    machine: Machine
    here: bool = True

    @property
    def name(self) -> str:
        """What people call it: 'gpu-host cuda:1', 'host share 3'."""
        if self.device is None:
            return f"{self.host} share {self.share}"
        return f"{self.host} cuda:{self.device}"

    @property
    def hardware(self) -> str:
        """What it is, for people: the GPU, or the CPU and how many of its cores."""
        if self.device is not None:
            return self.device_name or "a logical GPU"
        return f"{self.cores:g} cores of {self.machine.cpu}"

    @property
    def site(self) -> Site:
        """What a trace says of where it was measured."""
        return Site(name=self.name, hardware=self.hardware, kind=self.kind)

    @property
    def kind(self) -> str:
        """A hash of what decides how fast it is: what is measured on places of one kind can be compared."""
        machine = self.machine
        parts = [machine.cpu, str(machine.cores_logical), str(machine.cpu_limit), str(self.cores)]
        if self.device is not None:
            parts += [str(self.device_name), str(self.memory_bytes)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
