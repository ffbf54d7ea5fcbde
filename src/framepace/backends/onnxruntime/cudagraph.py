"""CUDA graphs of ONNX Runtime: a session captures and replays them by itself, by a number in the run options."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import Any

from framepace.devices import cuda

_NUMBER = "gpu_graph_id"
_NO_GRAPH = "-1"

_numbers = itertools.count(1)


def capture(session: Any, binding: Any, options: Any) -> int:
    """Capture the run of `binding`; later runs of it with `options` replay the graph. Returns the graph's number.

    Raises what the library does; no graph is left of that number then.
    """
    number = next(_numbers)
    options.add_run_config_entry(_NUMBER, str(number))
    try:
        with cuda.lock_setup():  # the second run captures, in a mode that forbids others to allocate
            for _ in range(2):
                session.run_with_iobinding(binding, options)
    except BaseException:
        release(session, number)
        raise
    return number


def release(session: Any, number: int) -> None:
    """Free a captured graph."""
    with suppress(Exception):
        session.release_captured_graph(number)


def exclude(options: Any) -> None:
    """Keep runs with `options` out of any graph."""
    options.add_run_config_entry(_NUMBER, _NO_GRAPH)
