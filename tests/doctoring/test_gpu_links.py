"""What the doctor says of the links between GPUs, of their way to the host, and of which is busy."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from framepace.doctoring.gpu import DriverState, judge_gpus, observe_gpus
from framepace.doctoring.gpulinks import Link, judge_links
from framepace.facts.check import Check
from framepace.recording.gpu import GpuStatus
from framepace.testing import make_machine
from tests.doubles.machines import BUS, CUDA, GPU
from tests.doubles.nvml import BUSY, ScriptedNvml

ADDRESSES = [f"0000:{bus:02x}:00.0" for bus in (0x19, 0x3B, 0x4C, 0x5D, 0x9B, 0xBB, 0xCB, 0xDB)]
HOST_OF_IBM = 1


def at(address: str) -> SimpleNamespace:
    """What NVML says of the device at an address."""
    domain, bus, device = address.split(".")[0].split(":")
    return SimpleNamespace(domain=int(domain, 16), bus=int(bus, 16), device=int(device, 16))


HIDDEN = SimpleNamespace(domain=0xFFFFFFFF, bus=0xFF, device=0xFF)


def linked(links: int, end: Any, **answers: Any) -> dict[str, Any]:
    """A GPU with so many NVLinks up, which lead there (None: it is not told where); two more are down."""
    states = dict.fromkeys(range(links), 1) | {links: 0, links + 1: 0}
    if end is not None:
        answers["nvmlDeviceGetNvLinkRemotePciInfo"] = dict.fromkeys(range(links), end)
    return {"nvmlDeviceGetNvLinkState": states, **answers}


def checks(tmp_path: Path, *devices: Mapping[str, Any], **gpu: Any) -> dict[str, Check]:
    """What the doctor says of GPUs that answer so, by name."""
    addresses = ADDRESSES[: len(devices)]
    seen = observe_gpus(tmp_path, ScriptedNvml(dict(zip(addresses, devices, strict=True))))
    gpus = tuple(replace(GPU, pci_bus_id=address, **gpu) for address in addresses)
    return {check.name: check for check in judge_gpus(make_machine(gpus=gpus), seen, CUDA)}


def test_links_from_gpu_to_gpu_are_counted(tmp_path: Path) -> None:
    """Of three GPUs two have four links to each other, the third has none: its way goes over the CPUs."""
    first, second, third = ADDRESSES[:3]
    found = checks(
        tmp_path,
        linked(4, at(second), nvmlDeviceGetTopologyCommonAncestor={second: 30, third: 50}),
        linked(4, at(first), nvmlDeviceGetTopologyCommonAncestor={third: 50}),
        {},
    )
    assert found["GPU 0 - GPU 1"].found == "NVLink, 4 links"
    assert found["GPU 0 - GPU 2"].found == found["GPU 1 - GPU 2"].found == "PCIe, across NUMA nodes"
    assert found["GPU 0 - GPU 1"].state == "info"


@pytest.mark.parametrize("end", [at("0000:c4:00.0"), HIDDEN, None])
def test_links_through_switches_are_those_of_the_gpu_that_has_fewer(tmp_path: Path, end: Any) -> None:
    """A virtual machine sees no switch: its address is all ones, or there is none."""
    found = checks(tmp_path, linked(18, end), linked(16, end))
    assert found["GPU 0 - GPU 1"].found == "NVLink, 16 links through NVSwitch"


def test_links_to_the_host_and_links_that_may_not_be_used_do_not_count(tmp_path: Path) -> None:
    """An IBM host's links end at its CPUs; a partition of a switch forbids some GPUs to reach each other."""
    pcie = {"nvmlDeviceGetTopologyCommonAncestor": {ADDRESSES[1]: 10}}
    to_host = {"nvmlDeviceGetNvLinkRemoteDeviceType": dict.fromkeys(range(6), HOST_OF_IBM)}
    forbidden = {"nvmlDeviceGetP2PStatus": {ADDRESSES[1]: 5}}
    for answers in (to_host, forbidden):
        device = linked(6, at("0000:c4:00.0"), **answers)
        found = checks(tmp_path, {**device, **pcie}, device)
        assert found["GPU 0 - GPU 1"].found == "PCIe, through one switch"


@pytest.mark.parametrize(
    ("level", "words"),
    [
        (0, "on one board"),
        (10, "PCIe, through one switch"),
        (20, "PCIe, through several switches"),
        (30, "PCIe, through one host bridge"),
        (40, "PCIe, within one NUMA node"),
        (50, "PCIe, across NUMA nodes"),
    ],
)
def test_where_the_ways_of_two_gpus_meet_is_said_for_people(tmp_path: Path, level: int, words: str) -> None:
    """NVML's levels; without NVLink they are what a copy goes through."""
    found = checks(tmp_path, {"nvmlDeviceGetTopologyCommonAncestor": {ADDRESSES[1]: level}}, {})
    assert found["GPU 0 - GPU 1"].found == words


def test_what_nvml_does_not_tell_has_no_row(tmp_path: Path) -> None:
    """Two GPUs that answer nothing: the doctor names them and goes on."""
    found = checks(tmp_path, {}, {})
    assert {name for name in found if name.startswith("GPU 0")} == {"GPU 0"}
    assert found["GPU 1"].state == "info"


def rows(links: dict[tuple[int, int], Link], count: int = 8) -> list[str]:
    """What is said of so many GPUs."""
    by_address = {frozenset(ADDRESSES[number] for number in pair): link for pair, link in links.items()}
    return [check.found for check in judge_links(ADDRESSES[:count], by_address)]


def test_eight_gpus_on_switches_are_one_row() -> None:
    """All 28 pairs are alike."""
    links = {pair: Link(18, True) for pair in combinations(range(8), 2)}
    assert rows(links) == ["NVLink, 18 links through NVSwitch: every two of 0-7"]


def test_four_gpus_have_a_row_per_pair_and_five_do_not() -> None:
    """Six rows, then one."""
    links = {pair: Link(ancestor=30) for pair in combinations(range(5), 2)}
    assert len(rows(links, 4)) == 6
    assert rows(links, 5) == ["PCIe, through one host bridge: every two of 0-4"]


def test_groups_of_gpus_are_named_and_the_rest_is_all_others() -> None:
    """Pairs with a bridge, two sockets of four, and what lies between the sockets."""
    links = {}
    for first, second in combinations(range(8), 2):
        links[first, second] = Link(ancestor=40 if first // 4 == second // 4 else 50)
        if first // 2 == second // 2:
            links[first, second] = Link(4)
    links[0, 1] = Link(1)
    assert rows(links) == [
        "NVLink, 1 link: 0 and 1",
        "PCIe, within one NUMA node: 0 and 2, 0 and 3, 1 and 2, 1 and 3, 4 and 6, 4 and 7, 5 and 6, 5 and 7",
        "NVLink, 4 links: 2 and 3, 4 and 5, 6 and 7",
        "PCIe, across NUMA nodes: all others",
    ]


def test_two_sockets_of_four_gpus_are_two_groups() -> None:
    """Nobody reads six pairs twice."""
    links = {pair: Link(ancestor=40) for pair in combinations(range(8), 2) if pair[0] // 4 == pair[1] // 4}
    assert rows(links) == ["PCIe, within one NUMA node: every two of 0-3, every two of 4-7"]


def test_which_gpu_is_busy_is_said_with_its_memory(tmp_path: Path) -> None:
    """One works, one idles, one does nothing at all; one in MIG mode tells only its memory."""
    quiet = {**BUSY, "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=2, memory=0)}
    still = {**BUSY, "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=0, memory=0)}
    split = {name: answer for name, answer in BUSY.items() if name != "nvmlDeviceGetUtilizationRates"}
    found = checks(tmp_path, BUSY, quiet, still, split, memory_bytes=150 << 30)
    memory = "3.0 GiB of 150.0 GiB in use"
    assert [found[f"GPU {number} load"].found for number in range(4)] == [
        f"busy 87 % of the time, {memory}",
        f"idle but for 2 % of the time, {memory}",
        f"idle, {memory}",
        memory,
    ]
    assert [found[f"GPU {number} load"].state for number in range(4)] == ["warn", "info", "info", "info"]


def test_a_busy_gpu_is_warned_of_once() -> None:
    """By its neighbours where they are seen; else, as in a container, by its load."""

    def warnings(**now: Any) -> list[str]:
        state = DriverState(status={BUS: GpuStatus(utilisation=90, **now)})
        found = judge_gpus(make_machine(gpus=(GPU,)), state, CUDA)
        return [check.name for check in found if check.state == "warn"]

    assert warnings() == ["GPU load"]
    assert warnings(processes=((77, "python", 3 << 30),)) == ["GPU neighbours"]


def test_the_link_to_the_host_and_what_is_near_are_said(tmp_path: Path) -> None:
    """NVML's sets of bits as ranges; an idle link runs slower than it will under load."""
    near = {
        "nvmlDeviceGetCpuAffinity": lambda handle, size: [0xFFFFFFFF, 0b1001, *[0] * (size - 2)],
        "nvmlDeviceGetMemoryAffinity": lambda handle, size, scope: [0b10, *[0] * (size - 1)],
    }
    idle = {"nvmlDeviceGetCurrentClocksEventReasons": 0x1, "nvmlDeviceGetCurrPcieLinkGeneration": 1}
    found = checks(tmp_path, {**BUSY, **near}, {**BUSY, **idle}, pcie_generation_max=5)
    assert found["GPU 0 PCIe"].found == "generation 5, 16 lanes"
    assert found["GPU 1 PCIe"].found == "generation 1 (idle; 5 under load), 16 lanes"
    assert found["GPU 0 is near"].found == "NUMA node 1, cores 0-31, 64, 67"
    assert "GPU 1 is near" not in found
