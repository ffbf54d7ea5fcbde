"""Settings that can be switched on and off while the program runs. Standard library only."""

from __future__ import annotations

import gc
import os
import select
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

_SHORT_SWITCH_S = 0.0005  # a tenth of Python's own
_LONGEST_SPIN_S = 1.0  # a longer sleep is no pacing of frames
_NICE = -10
_TASKS = "/proc/self/task"
_select = select.select
Change = Callable[[ModuleType], None]


class Switch:
    """A setting, off to begin with; what it replaces in libraries looks at `active`."""

    def __init__(self) -> None:
        self.active = False

    def changes(self) -> dict[str, Change]:
        """What is changed in libraries, by name, once they are imported."""
        return {}

    def on(self) -> None:
        """Begin."""
        self.active = True

    def off(self) -> None:
        """Leave everything as it would be without."""
        self.active = False


class Sleep(Switch):
    """Sleeps that stay awake: the core's clock and caches stay as they are."""

    def changes(self) -> dict[str, Change]:
        """Of the standard library."""
        return {"time": self._change}

    def _change(self, module: ModuleType) -> None:
        sleep: Callable[[float], None] = vars(module)["sleep"]
        clock = time.perf_counter

        def spin(seconds: float) -> None:
            if not (self.active and 0 < seconds <= _LONGEST_SPIN_S):
                sleep(seconds)
                return
            end = clock() + seconds
            while clock() < end:
                _select((), (), (), 0)  # lets other threads run; `sleep(0)` would sleep, for the timer's slack

        vars(module)["sleep"] = spin


class Collections(Switch):
    """No collections, neither by themselves nor asked for. What lies about is collected when it is switched off."""

    def __init__(self) -> None:
        super().__init__()
        self._enable_it = gc.enable
        self._disable_it = gc.disable
        self._collect_now = gc.collect
        self._wanted = True

    def changes(self) -> dict[str, Change]:
        """Of the standard library."""
        return {"gc": self._change}

    def _change(self, module: ModuleType) -> None:
        vars(module).update(enable=self._enable, disable=self._disable, collect=self._collect)

    def on(self) -> None:
        """The program's own calls count from when it is switched off."""
        self._wanted = gc.isenabled()
        self.active = True
        self._disable_it()

    def off(self) -> None:
        """As the program wants it."""
        self.active = False
        self._collect_now()
        if self._wanted:
            self._enable_it()

    def _enable(self) -> None:
        self._wanted = True
        if not self.active:
            self._enable_it()

    def _disable(self) -> None:
        self._wanted = False
        self._disable_it()

    def _collect(self, *arguments: Any, **options: Any) -> int:
        if self.active:
            return 0
        return self._collect_now(*arguments, **options)


class SwitchInterval(Switch):
    """Threads hand over the interpreter lock sooner."""

    def __init__(self) -> None:
        super().__init__()
        self._before = sys.getswitchinterval()

    def on(self) -> None:
        """A tenth of the usual time."""
        self._before = sys.getswitchinterval()
        sys.setswitchinterval(_SHORT_SWITCH_S)

    def off(self) -> None:
        """The time before."""
        sys.setswitchinterval(self._before)


class Priority(Switch):
    """All threads before those of other programs. Needs the right to it (CAP_SYS_NICE, or `ulimit -e`)."""

    def __init__(self) -> None:
        super().__init__()
        self._before = 0

    def on(self) -> None:
        """Raises OSError where it is not allowed."""
        self._before = os.getpriority(os.PRIO_PROCESS, 0)
        _renice(min(_NICE, self._before))

    def off(self) -> None:
        """The priority before, also of threads that were started meanwhile."""
        _renice(self._before)


def _renice(nice: int) -> None:
    for thread in map(int, os.listdir(_TASKS)):
        try:
            os.setpriority(os.PRIO_PROCESS, thread, nice)
        except ProcessLookupError:  # it has ended
            continue
