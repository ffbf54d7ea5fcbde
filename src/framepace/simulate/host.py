"""The host: how deeply the core of a worker sleeps, with its caches, the uncore and PCIe.

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
        self._model = model
        self._sleep_after_ns = model.sleep_after_us * 1000
        self._last_now = clock.now()
        self._last_halted = clock.halted()
        self._doze = 0.0
        self._sleep = 0.0

    @property
    def depth(self) -> float:
        """How deeply it sleeps, 0 to 1."""
        share = self._model.doze_share
        return share * self._doze + (1 - share) * self._sleep

    def passed(self, working: bool) -> float:
        """The depth of sleep now; the time since the last call was an inference (`working`) or a gap."""
        now = self._clock.now()
        halted = self._halted()
        asleep = halted - self._last_halted
        awake = now - self._last_now
        self._last_now = now
        self._last_halted = halted
        if asleep > self._sleep_after_ns:
            self._fall_asleep(asleep)
            awake -= asleep
        if awake > 0 and self._sleep:
            self._wake(awake, working)
        return self.depth

    def _fall_asleep(self, halt: int) -> None:
        """A halt of that length (ns)."""
        self._doze = 1 - (1 - self._doze) * exp(-halt / (self._model.doze_ms * NS_PER_MS))
        self._sleep = 1 - (1 - self._sleep) * exp(-halt / (self._model.sleep_ms * NS_PER_MS))

    def _wake(self, awake: int, working: bool) -> None:
        """The core was awake for that long (ns)."""
        constant_ms = self._model.awake_ms
        if working:
            constant_ms = self._model.work_ms
        remaining = exp(-awake / (constant_ms * NS_PER_MS))
        self._doze *= remaining
        self._sleep *= remaining
