"""For tests of framepace and of what is built on it: a virtual clock and made-up traces."""

from __future__ import annotations


class FakeClock:
    """A virtual clock: time passes only when someone waits, so tests assert exact times.

    `oversleep` ns are added to every sleep, as a system's timer does. CPU time passes while spinning only.
    """

    virtual = True

    def __init__(self, start: int = 0, oversleep: int = 0) -> None:
        self._now, self._cpu, self.oversleep = start, 0, oversleep

    def now(self) -> int:
        """Virtual time in ns."""
        return self._now

    def cpu(self) -> int:
        """Virtual CPU time in ns."""
        return self._cpu

    def sleep_until(self, due: int) -> None:
        """Advance to `due` plus the oversleep."""
        if due > self._now:
            self._now = due + self.oversleep

    def spin_until(self, due: int) -> None:
        """Advance to `due`, counting the time as CPU time."""
        if due > self._now:
            self._cpu += due - self._now
            self._now = due
