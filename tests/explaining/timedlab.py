"""A lab whose source takes time to decode in virtual time, so that a thread of its own makes a difference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from msgspec.structs import replace

from framepace.facts.settings import Case
from framepace.facts.trace import Trace
from framepace.facts.workload import Stop
from framepace.lab.lab import Lab
from framepace.measure.frames import Frames
from framepace.measure.session import measure
from framepace.video.source import MemorySource

_FRAMES = 96


class TimedLab(Lab):
    """Runs of 96 frames from a source that takes `decode_us` per picture."""

    def __init__(self, decode_us: int, **options: Any) -> None:
        super().__init__(**options)
        self._decode_us = decode_us

    def run(self, case: Case, *args: Any, **options: Any) -> Trace:
        """The first frames, whatever time there is."""
        source = MemorySource(self._decoded(), loop=False)
        frames = Frames((source.name,), [[np.zeros((4, 4, 3), np.uint8)]], [source], timed=True)
        workload = replace(case.workload, stop=Stop(count=_FRAMES))
        return measure(case.plan, workload, clock=self.clock, frames=frames)

    def _decoded(self) -> Iterator[Any]:
        while True:
            self.clock.spin_until(self.clock.now() + 1000 * self._decode_us)
            yield np.zeros((4, 4, 3), np.uint8)
