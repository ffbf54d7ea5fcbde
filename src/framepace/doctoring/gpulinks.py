"""How GPUs reach each other: `observe_links` asks NVML, `judge_links` says it for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from framepace.devices.nvml import common_ancestor, handles, nvlink_ends, nvlink_is_usable, pci_bus_id
from framepace.doctoring.check import info
from framepace.facts.check import Check

# Where the ways of two GPUs to the host meet (nvml.h, nvmlGpuTopologyLevel_t), nearest first.
_ANCESTORS: Mapping[int | None, str] = {
    0: "on one board",
    10: "PCIe, through one switch",
    20: "PCIe, through several switches",
    30: "PCIe, through one host bridge",
    40: "PCIe, within one NUMA node",
    50: "PCIe, across NUMA nodes",
}
_IN_ONE_ROW_FROM = 5  # GPUs on: more have more pairs than anybody reads
Pair = tuple[int, int]


@dataclass(frozen=True)
class Link:
    """How two GPUs reach each other: so many NVLinks, maybe through switches, and where their ways to the host meet.

    `ancestor` is NVML's number (NVML_TOPOLOGY_...), None where it is not known.
    """

    nvlinks: int = 0
    through_switch: bool = False
    ancestor: int | None = None


def observe_links(nvml: Any) -> dict[frozenset[str], Link]:
    """The link of every two GPUs, by their PCI bus ids. `nvml` is started."""
    gpus = {address: handle for handle in handles(nvml) if (address := pci_bus_id(nvml, handle))}
    ends = {address: nvlink_ends(nvml, handle) for address, handle in gpus.items()}
    return {frozenset(pair): _link(nvml, pair, gpus, ends) for pair in combinations(gpus, 2)}


def _link(nvml: Any, pair: tuple[str, str], gpus: Mapping[str, Any], ends: Mapping[str, Sequence[str]]) -> Link:
    first, second = (gpus[address] for address in pair)
    ancestor = common_ancestor(nvml, first, second)
    if not nvlink_is_usable(nvml, first, second):
        return Link(ancestor=ancestor)
    count, through_switch = nvlinks_between(*pair, ends)
    return Link(count, through_switch, ancestor)


def nvlinks_between(first: str, second: str, ends: Mapping[str, Sequence[str]]) -> tuple[int, bool]:
    """How many NVLinks join two GPUs, and whether that is through switches.

    Args:
        ends: where each link of each GPU leads, see `devices.nvml.nvlink_ends`. What is no GPU is a switch, and of two
            GPUs on switches the one with fewer links has the say.
    """
    direct = list(ends[first]).count(second)
    if direct:
        return direct, False
    to_switches = [sum(end not in ends for end in ends[gpu]) for gpu in (first, second)]
    return min(to_switches), min(to_switches) > 0


def judge_links(addresses: Sequence[str | None], links: Mapping[frozenset[str], Link]) -> Iterator[Check]:
    """A row for every two GPUs; of many GPUs one for all pairs that are alike.

    Args:
        addresses: the PCI bus ids of the GPUs, in their order.
    """
    pairs = dict(_in_words(addresses, links))
    if len(addresses) < _IN_ONE_ROW_FROM:
        for (first, second), words in pairs.items():
            yield info(f"GPU {first} - GPU {second}", words)
        return
    alike: dict[str, list[Pair]] = {}
    for pair, words in pairs.items():
        alike.setdefault(words, []).append(pair)
    for words, which in which_pairs(alike).items():
        yield info("GPU links", f"{words}: {which}")


def _in_words(addresses: Sequence[str | None], links: Mapping[frozenset[str], Link]) -> Iterator[tuple[Pair, str]]:
    for (first, one), (second, other) in combinations(enumerate(addresses), 2):
        words = link_words(links.get(frozenset((one or "", other or "")), Link()))
        if words:
            yield (first, second), words


def link_words(link: Link) -> str | None:
    """'NVLink, 18 links through switches' or what PCIe goes through; None where nothing is known."""
    if not link.nvlinks:
        return _ANCESTORS.get(link.ancestor)
    words = f"NVLink, {link.nvlinks} links"
    if link.nvlinks == 1:
        words = "NVLink, 1 link"
    if link.through_switch:
        words += " through NVSwitch"
    return words


def which_pairs(alike: Mapping[str, Sequence[Pair]]) -> dict[str, str]:
    """Pairs of GPUs in few words, by how they are linked: groups, single pairs, and last the rest as such.

    For example 'every two of 0-3, every two of 4-7' and 'all others'.
    """
    named = {words: _pair_words(pairs) for words, pairs in alike.items()}
    commonest = max(alike, key=lambda words: len(alike[words]), default="")
    if len(alike) > 1 and not _are_groups(alike[commonest]):
        del named[commonest]
        named[commonest] = "all others"
    return named


def _pair_words(pairs: Sequence[Pair]) -> str:
    if _are_groups(pairs):
        return ", ".join(map(_group_words, _groups(pairs)))
    return ", ".join(f"{first} and {second}" for first, second in pairs)


def _are_groups(pairs: Sequence[Pair]) -> bool:
    """Whether GPUs that hang together by these pairs are all pairs of each other."""
    return len(pairs) == sum(len(group) * (len(group) - 1) // 2 for group in _groups(pairs))


def _groups(pairs: Sequence[Pair]) -> list[set[int]]:
    """The GPUs that hang together by these pairs."""
    groups: list[set[int]] = []
    for pair in pairs:
        joined = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if group not in joined]
        groups.append(set(pair).union(*joined))
    return sorted(groups, key=min)


def _group_words(group: set[int]) -> str:
    if len(group) == 2:
        return " and ".join(map(str, sorted(group)))
    return f"every two of {ranges(sorted(group))}"


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers in few words: '0-3, 8'."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)
