"""Many functions and methods of a library, timed at once. Standard library only."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _framepace_probe import Probe


def patch_each(probe: Probe, module: ModuleType, library: str, stages: dict[str, str]) -> None:
    """Patch functions, and methods of classes ('Class.method')."""
    for path, stage in stages.items():
        owner, name = owner_of(module, path)
        probe.patch(owner, name, stage, f"{library}.{path}")


def owner_of(module: ModuleType, path: str) -> tuple[Any, str]:
    """What has the last name of a path as an attribute, None where there is none such, and that name."""
    owner: Any = module
    *owners, name = path.split(".")
    for one in owners:
        owner = getattr(owner, one, None)
    return owner, name
