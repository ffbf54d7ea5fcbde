"""A finish hook that keeps what it is handed of the first frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

KEPT = 8
handed: list[Mapping[str, Any]] = []


def keep(model: str, outputs: Mapping[str, Any], frame: int) -> None:
    """Keep copies of the outputs."""
    if len(handed) < KEPT:
        handed.append({name: np.array(array) for name, array in outputs.items()})
