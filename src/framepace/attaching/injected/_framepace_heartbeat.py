"""Sessions of ONNX Runtime run again on their last input while the program waits. Standard library only.

What a session answers depends on its input alone, so that one run more changes nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from _framepace_switches import Change, Switch

_SHORTEST_GAP_S = 0.004  # after a run, before the first beat
_PAUSE = 4.0  # durations of a run between two beats
_ROOM = 1.5  # durations of a run before the program's next one is due
_LONGEST_GAP_S = 1.0  # after which the program is thought to be done
_sleep = time.sleep
_clock = time.perf_counter


class _Last:
    """The last run of a session: its arguments, what it took, when the next one is due, and the last beat; s."""

    __slots__ = ("arguments", "beat", "due", "ended", "took")

    def __init__(self, arguments: tuple[Any, ...], began: float, ended: float, period: float) -> None:
        self.arguments = arguments
        self.took = ended - began
        self.due = began + period
        self.ended = self.beat = ended

    @property
    def began(self) -> float:
        """When it began."""
        return self.ended - self.took


class Heartbeat(Switch):  # type: ignore[misc]
    """Remembers the last input of each session, and runs it in the gaps."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[int, _Last] = {}
        self._busy: set[int] = set()
        self._run: Callable[..., Any] = _nothing

    def changes(self) -> dict[str, Change]:
        """Of ONNX Runtime alone."""
        return {"onnxruntime.capi.onnxruntime_inference_collection": self._change}

    def _change(self, module: ModuleType) -> None:
        self._run = module.InferenceSession.run

        def run(session: Any, output_names: Any, input_feed: Any, *arguments: Any, **options: Any) -> Any:
            if not self.active:
                return self._run(session, output_names, input_feed, *arguments, **options)
            key = id(session)
            self._busy.add(key)
            began = _clock()
            try:
                return self._run(session, output_names, input_feed, *arguments, **options)
            finally:
                self._busy.discard(key)
                self._remember(key, (session, output_names, input_feed), began)

        module.InferenceSession.run = run

    def _remember(self, key: int, arguments: tuple[Any, ...], began: float) -> None:
        before = self._last.get(key)
        period = began - before.began if before else 0.0
        self._last[key] = _Last(arguments, began, _clock(), period)

    def on(self) -> None:
        """Start to beat."""
        self.active = True
        threading.Thread(target=self._beat, name="framepace heartbeat", daemon=True).start()

    def off(self) -> None:
        """The thread ends after its beat."""
        self.active = False
        self._last.clear()

    def _beat(self) -> None:
        while self.active:
            _sleep(_SHORTEST_GAP_S / 2)
            for key, last in list(self._last.items()):
                if key not in self._busy and _is_wanted(last, _clock()):
                    self._once(last)

    def _once(self, last: _Last) -> None:
        try:
            self._run(*last.arguments)
        except Exception:  # the program's own call tells it
            self.active = False
        last.beat = _clock()


def _is_wanted(last: _Last, now: float) -> bool:
    """Whether a beat has room between the run before and the next one that is due."""
    if now - last.ended > _LONGEST_GAP_S or now - last.ended < _SHORTEST_GAP_S:
        return False
    if last.due - _ROOM * last.took < now < last.due + last.took:
        return False
    return now - last.beat >= _PAUSE * last.took


def _nothing(*arguments: Any) -> None:
    """Until ONNX Runtime is there."""
