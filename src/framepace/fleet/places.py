"""Where engines can run, and what an engine there needs to be told."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from framepace.errors import UsageError
from framepace.facts.address import expanded
from framepace.facts.place import Place
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.running import SourceSpec
from framepace.store import cache

_ARRAYS = (".npy", ".npz")
_ON_GPUS_ALONE = frozenset({"tensorrt"})


def described(place: Place) -> str:
    """The host and what is used of it, as people read it."""
    return f"{place.host}: {place.hardware}"


def folder(place: Place) -> str:
    """A folder's name for a place."""
    return cache.plain(place.name)


def usable(places: Sequence[Place], plan: Plan) -> tuple[Place, ...]:
    """The places whose devices the plan can run on. Raises UsageError where there is none."""
    if not places:
        raise UsageError("the cluster has no place for an engine", got="no node", fix="add nodes to it")
    wants_gpu = any(_wants_gpu(model) for model in plan.models)
    fitting = tuple(place for place in places if place.device is not None or not wants_gpu)
    if not fitting:
        raise UsageError(
            "the plan runs on a GPU, and the cluster has none",
            got=", ".join(dict.fromkeys(described(place) for place in places)),
            expected="a node with a GPU that the cluster knows of",
            fix="add one, or run the plan with --device cpu",
        )
    return fitting


def _wants_gpu(model: ModelPlan) -> bool:
    return model.backend in _ON_GPUS_ALONE or (model.device or "").startswith("cuda")


def at_place(plan: Plan) -> Plan:
    """The plan as an engine runs it: the only GPU that it sees is the first, and paths begin at the root."""
    return replace(plan, models=tuple(_at_place(model) for model in plan.models))


def _at_place(model: ModelPlan) -> ModelPlan:
    device = model.device
    if device is not None and device.startswith("cuda"):
        device = "cuda"
    values = {
        name: absolute(value) if value.endswith(_ARRAYS) else value for name, value in model.inputs.values.items()
    }
    return replace(
        model,
        model=absolute(model.model),
        device=device,
        calibration=_absolute(model.calibration),
        post=replace(model.post, names=_absolute(model.post.names)),
        inputs=replace(model.inputs, values=values),
    )


def _absolute(path: str | None) -> str | None:
    return None if path is None else absolute(path)


def absolute(address: str) -> str:
    """A path from the root, since engines are started in other folders; any other address as it is."""
    if not Path(address).exists() or ":" in address.split("/")[0]:
        return address
    return str(Path(address).resolve())


def at_engines(spec: SourceSpec) -> SourceSpec:
    """A source as an engine reads it; variables of its address are those of the run."""
    return replace(spec, address=absolute(expanded(spec.address, os.environ)))
