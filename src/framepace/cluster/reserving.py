"""What a program sets aside on a cluster: one GPU with its share of cores, or a share of the cores, per place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

_FREE_S = 5.0  # for what other programs hold to become free
_LATE_S = 0.1  # for the others, which had that time as well
_NODE = "ray.io/node-id"  # the label by which a node is meant


class Reserved(NamedTuple):
    """Resources of one node that are set aside, the `share`-th of them there; `group` is Ray's placement group.

    An actor in it always gets the same GPU.
    """

    group: Any
    node: str
    resources: dict[str, float]
    share: int

    def options(self, threads: int) -> dict[str, Any]:
        """Those of an actor that takes all of it and runs so many methods at once."""
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        return {
            "num_cpus": self.resources["CPU"],
            "num_gpus": self.resources.get("GPU", 0),
            "scheduling_strategy": PlacementGroupSchedulingStrategy(self.group, 0),
            "max_concurrency": threads,
            "max_restarts": 0,
        }

    def give_back(self) -> None:
        """Let others have it; also when the cluster is gone."""
        from ray.util.placement_group import remove_placement_group

        with suppress(Exception):
            remove_placement_group(self.group)


def reserve(nodes: Sequence[dict[str, Any]], shares: int) -> Iterator[Reserved]:
    """Ask for all places of some nodes at once, `shares` on one without GPU; those that are free, in a bounded time.

    Args:
        nodes: as ray.nodes() describes them.
    """
    asked = [_asked(*place) for node in nodes if node["Alive"] for place in shares_of(node, shares)]
    patience = _FREE_S
    for reserved in asked:
        if reserved.group.wait(patience):
            yield reserved
        else:
            reserved.give_back()
            patience = _LATE_S


def shares_of(node: dict[str, Any], shares: int) -> list[tuple[str, dict[str, float], int]]:
    """The places of a node: its id, the resources of each, and its number there."""
    resources = node["Resources"]
    gpus = int(resources.get("GPU", 0))
    count = gpus or shares
    amounts = {"CPU": _whole(resources.get("CPU", 0.0) / count)}
    if gpus:
        amounts["GPU"] = 1.0
    elif not amounts["CPU"]:
        return []
    return [(node["NodeID"], amounts, share) for share in range(count)]


def _whole(cores: float) -> float:
    """Whole cores, where it is at least one."""
    return float(int(cores)) if cores >= 1 else cores


def _asked(node: str, resources: dict[str, float], share: int) -> Reserved:
    from ray.util.placement_group import placement_group

    wanted = {name: amount for name, amount in resources.items() if amount}
    group = placement_group([wanted], bundle_label_selector=[{_NODE: node}])
    return Reserved(group, node, resources, share)
