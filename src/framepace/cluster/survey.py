"""What a place is: asked there, and made a record here."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from framepace.errors import ClusterError
from framepace.facts.machine import Gpu, Machine
from framepace.facts.place import Place
from framepace.recording.machine import probe

_ID_LETTERS = 6


class Survey(NamedTuple):
    """One place as its own process sees it. `cores` are those that may be used there; `gpu` is the one it was given."""

    host: str
    gpu: str | None
    cores: int
    machine: Machine


class Surveyor:
    """Says what its place is."""

    def survey(self) -> Survey:
        """See `Survey`."""
        import ray

        gpus = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
        machine = probe()
        cores = int(machine.cpu_limit or machine.cores_logical)
        return Survey(socket.gethostname(), gpus[0] if gpus else None, cores, machine)


def place_of(survey: Survey, node: str, share: int, shares: int) -> Place:
    """The record of a place, one of so many on its node; `number` is 0. Raises ClusterError for another framepace."""
    _check_version(survey)
    gpu = _gpu(survey)
    return Place(
        number=0,
        host=survey.host,
        node=node,
        share=share,
        device=_index(survey),
        device_name=None if gpu is None else gpu.name,
        memory_bytes=survey.machine.memory_bytes // shares if gpu is None else gpu.memory_bytes,
        cores=survey.cores / shares,
        machine=survey.machine,
        here=survey.host == socket.gethostname(),
    )


def distinct(places: Sequence[Place]) -> list[Place]:
    """The places; hosts that have one name, as containers may, are told apart by the id that Ray gave them."""
    nodes: dict[str, set[str]] = {}
    for place in places:
        nodes.setdefault(place.host, set()).add(place.node)
    return [
        replace(place, host=f"{place.host} {place.node[:_ID_LETTERS]}") if len(nodes[place.host]) > 1 else place
        for place in places
    ]


def _check_version(survey: Survey) -> None:
    here, there = (machine.libraries.get("framepace") for machine in (probe(), survey.machine))
    if here != there:
        got = f"{there} on {survey.host}, {here} here"
        raise ClusterError("the cluster has another framepace", got=got, fix="install the same version on every host")


def _index(survey: Survey) -> int | None:
    """The index of the GPU on its host; Ray names it by that, or by its UUID where the host's environment did."""
    if survey.gpu is None:
        return None
    if survey.gpu.isdigit():
        return int(survey.gpu)
    uuids = [gpu.uuid for gpu in survey.machine.gpus]
    return uuids.index(survey.gpu) if survey.gpu in uuids else 0


def _gpu(survey: Survey) -> Gpu | None:
    """The GPU as its driver describes it; None for a share of cores and a GPU that is only a number."""
    index = _index(survey)
    if index is None or index >= len(survey.machine.gpus):
        return None
    return survey.machine.gpus[index]
