"""Places of a cluster that no cluster has."""

from __future__ import annotations

from typing import Any

from framepace.facts.machine import Gpu, Machine
from framepace.facts.place import Place


def make_place(number: int, gpu: str | None = None, cpu: str = "a CPU", host: str = "here") -> Place:
    """A share of two cores, or a GPU by its name."""
    gpus: tuple[Gpu, ...] = ()
    values: dict[str, Any] = {"device": None, "device_name": None, "memory_bytes": 2**30}
    if gpu is not None:
        gpus = (Gpu(name=gpu, memory_bytes=2**34, driver="1"),)
        values = {"device": number, "device_name": gpu, "memory_bytes": 2**34}
    machine = Machine(
        cpu=cpu, cores_physical=8, cores_logical=8, memory_bytes=2**33, system="s", kernel="k", python="p", gpus=gpus
    )
    return Place(number=number, host=host, node="node", share=number, cores=2.0, machine=machine, **values)
