"""Deadlines on what waits for the outside: a file system, a network, a user's function.

A call that can be interrupted has its own timeout. One that cannot (opening a file on a server that is gone, resolving
a name) runs on its own thread here, which is left behind when the time is up: it is a daemon and holds nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from framepace.errors import FramepaceError

_T = TypeVar("_T")


class _Call(Generic[_T]):
    """A function on a thread, and what became of it."""

    def __init__(self, function: Callable[[], _T], late: Callable[[_T], object] | None) -> None:
        self._function = function
        self._late = late
        self._lock = threading.Lock()
        self._abandoned = False
        self.done = threading.Event()
        self.result: list[_T] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        """The body of the thread."""
        try:
            result = self._function()
        except BaseException as error:
            self.error = error
        else:
            self._hand_over(result)
        self.done.set()

    def abandon(self) -> bool:
        """Give the call up; false when its result came at the last moment."""
        with self._lock:
            self._abandoned = not self.result
            return self._abandoned

    def _hand_over(self, result: _T) -> None:
        with self._lock:
            if not self._abandoned:
                self.result.append(result)
                return
        if self._late is not None:
            self._late(result)

    def outcome(self) -> _T:
        """What the function returned, waiting for it; raises what it raised."""
        self.done.wait()
        if self.error is not None:
            raise self.error
        return self.result[0]


def within(
    seconds: float,
    message: str,
    function: Callable[[], _T],
    *,
    got: object = None,
    fix: str | None = None,
    error: type[FramepaceError] = FramepaceError,
    late: Callable[[_T], Any] | None = None,
) -> _T:
    """What `function` returns or raises, if it does within `seconds`; else raises `error`.

    Args:
        message: the sentence of the error, such as 'the video does not open'.
        got: what did not answer; for how long is added.
        late: receives, on the abandoned thread, a result that comes too late, to free it.
    """
    call = _Call(function, late)
    threading.Thread(target=call.run, name=f"within {seconds:g} s", daemon=True).start()
    if not call.done.wait(seconds) and call.abandon():
        raise error(message, got=f"{got}: no answer in {seconds:g} s", expected=f"an answer in {seconds:g} s", fix=fix)
    return call.outcome()


def together(functions: Sequence[Callable[[], _T]]) -> list[_T | BaseException]:
    """What each function returns or raises, all at once: several that wait take as long as the longest."""
    calls = [_Call(function, None) for function in functions]
    for call in calls:
        threading.Thread(target=call.run, name="together", daemon=True).start()
    for call in calls:
        call.done.wait()
    return [call.error or call.result[0] for call in calls]
