"""The progress of a build as TensorRT reports it; versions before 10 do not."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from framepace.backends.tensorrt.api import Library
from framepace.progress import Tell


@contextmanager
def watch(lib: Library, config: Any, name: str, tell: Tell) -> Iterator[None]:
    """In this context, a build under `config` reports the share of its outermost phase to `tell`.

    What `tell` or Ctrl-C raises meanwhile ends the build, and is raised again on leaving.
    """
    base: Any = getattr(lib.trt, "IProgressMonitor", None)
    if base is None or not hasattr(config, "progress_monitor"):
        yield
        return
    raised: list[BaseException] = []
    config.progress_monitor = monitor = _monitor(base, name, tell, raised)
    with _kept_interrupts(raised):
        yield
    del monitor  # the configuration does not hold it
    if raised:
        raise raised[0]


def _monitor(base: Any, name: str, tell: Tell, raised: list[BaseException]) -> Any:
    outer: dict[str, int] = {}

    class Monitor(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            if not parent:
                outer[phase] = max(1, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            if phase in outer:
                share = min(1.0, (step + 1) / outer[phase])
                _keep(raised, lambda: tell(f"building {name}: {phase}", share))
            return not raised

        def phase_finish(self, phase: str) -> None:
            outer.pop(phase, None)

    return Monitor()


def _keep(raised: list[BaseException], step: Callable[[], None]) -> None:
    """Keep what the step raises: TensorRT would log it, and give up without a reason or go on."""
    try:
        step()
    except BaseException as error:
        raised.append(error)


@contextmanager
def _kept_interrupts(raised: list[BaseException]) -> Iterator[None]:
    """Keep what the handler of Ctrl-C raises: Python calls it at the start of whichever of the monitor's calls is next.

    Only the main thread may set a handler, and only there it is called.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    handler = before
    signal.signal(signal.SIGINT, lambda number, frame: _keep(raised, lambda: handler(number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
