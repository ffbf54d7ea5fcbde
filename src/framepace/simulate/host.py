"""The host: how deeply the core of a worker, and what hangs on it (its caches, the uncore, PCIe), is asleep.

Measured on the host of an H200: after a gap that the worker's core slept through, the call is slower and so is the
first part of the kernels. A part of that comes with the first millisecond of sleep, the rest with some ten more. A core
that spins through the gap, or is kept awake, does not show it; one that spins only the last two milliseconds shows most
of it; one that sleeps between inferences a millisecond apart shows half.
"""

from __future__ import annotations

from math import exp

from framepace.clock.system import Clock
from framepace.simulate.parameters import DeviceModel
from framepace.units import NS_PER_MS


class Host:
    """The sleep of one worker's core, in two parts that go from 0 (awake) to 1; used in the worker's thread.

    In a halt of length t each part p becomes 1 - (1 - p) exp(-t / doze_ms or sleep_ms); while the core is awake for t
    it falls to p exp(-t / awake_ms), in an inference with work_ms.
    """

    def __init__(self, model: DeviceModel, clock: Clock) -> None:
        self._clock = clock
        self._halted = clock.halted
        times = (model.doze_ms, model.sleep_ms, model.awake_ms, model.work_ms)
        self._doze_ns, self._sleep_ns, self._awake_ns, self._work_ns = (ms * NS_PER_MS for ms in times)
        self._share, self._after = model.doze_share, model.sleep_after_us * 1000
        self._at, self._was = clock.now(), self._halted()
        self._doze = self._sleep = 0.0

    @property
    def depth(self) -> float:
        """How deeply it sleeps, 0 to 1."""
        return self._share * self._doze + (1 - self._share) * self._sleep

    def passed(self, working: bool) -> float:
        """The depth of sleep now; the time since the last call was an inference (`working`) or a gap."""
        now, halted = self._clock.now(), self._halted()
        asleep, awake = halted - self._was, now - self._at
        self._at, self._was = now, halted
        if asleep > self._after:
            self._doze = 1 - (1 - self._doze) * exp(-asleep / self._doze_ns)
            self._sleep = 1 - (1 - self._sleep) * exp(-asleep / self._sleep_ns)
            awake -= asleep
        if awake > 0 and self._sleep:
            left = exp(-awake / (self._work_ns if working else self._awake_ns))
            self._doze *= left
            self._sleep *= left
        return self.depth
