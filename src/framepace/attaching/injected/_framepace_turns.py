"""Which settings are on in this process, all the time or by turns. Standard library only.

Turns are blocks of time on the clock that all processes share, so that every process of the program switches at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from _framepace_allowed import CachedDecoding, NoSinks
from _framepace_heartbeat import Heartbeat
from _framepace_switches import Change, Collections, Priority, Sleep, Switch, SwitchInterval

SWITCHES: dict[str, Callable[[], Switch]] = {
    "sleep": Sleep,
    "collections": Collections,
    "switch-interval": SwitchInterval,
    "priority": Priority,
    "heartbeat": Heartbeat,
    "decode": CachedDecoding,
    "sinks": NoSinks,
}
_sleep = time.sleep
Failed = Callable[[str, str], None]  # the setting, and why it was not switched


class Turns:
    """Switches settings on and off.

    Args:
        settings: that are on all the time, by name.
        turns: arms (settings by name) and the order in which they take turns, the ns of a turn and when the first one
            began; {} for none.
        failed: told what could not be switched.
        began: told the number of each arm as its turn begins.
    """

    def __init__(
        self, settings: dict[str, str], turns: dict[str, Any], failed: Failed, began: Callable[[int], None]
    ) -> None:
        self._turns = turns or {"arms": [settings], "order": [0]}
        self._failed = failed
        self._began = began
        names = {name for arm in self._turns["arms"] for name in arm}
        self._switches = {name: make() for name, make in SWITCHES.items() if name in names}
        self._on: set[str] = set()

    def changes(self) -> Iterator[tuple[str, Change]]:
        """What the switches change in libraries, by the library's name."""
        for switch in self._switches.values():
            yield from switch.changes().items()

    def start(self) -> None:
        """Begin, once the libraries that are there are changed; also in a forked child, which has no other threads."""
        if not self._switches:
            return
        if "block_ns" not in self._turns:
            self._switch_to(0)
            return
        threading.Thread(target=self._run, name="framepace turns", daemon=True).start()

    def _run(self) -> None:
        begin, block, order = (self._turns[name] for name in ("begin_ns", "block_ns", "order"))
        while True:
            number = (time.perf_counter_ns() - begin) // block
            self._switch_to(order[number % len(order)])
            ends = begin + (number + 1) * block
            _sleep(max(0, ends - time.perf_counter_ns()) / 1e9)

    def _switch_to(self, arm: int) -> None:
        wanted = self._turns["arms"][arm].keys() & self._switches.keys()
        for name in self._on - wanted:
            self._quietly(name, self._switches[name].off)
        for name in wanted - self._on:
            self._quietly(name, self._switches[name].on)
        self._on = wanted
        self._began(arm)

    def _quietly(self, name: str, switch: Callable[[], None]) -> None:
        try:
            switch()
        except Exception as error:  # the program has nothing to do with it
            self._failed(name, f"{type(error).__name__}: {error}")
