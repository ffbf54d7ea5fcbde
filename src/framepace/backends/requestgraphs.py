"""CUDA graphs of a worker's requests, and whether what they answer is what the same request answers without them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from framepace.backends.deviceslot import Lanes, Produced, Slot
from framepace.devices.protocol import Graph, Stream
from framepace.errors import BackendError

Work = Callable[[Stream], object]
Capture = Callable[[Work], Graph]
"""Captures what the work enqueues, in the calling thread."""
Scope = Literal["request", "kernels", "copies"]
"""What is one graph: all of a request; its kernels; or its copies, where the library has a graph of its own between."""
_ATTEMPTS = 5
_DISTURBED = ("STREAM_CAPTURE_INVALIDATED", "StreamCaptureInvalidated", "previous error during capture")
_NEAR = 0.01  # of the largest value of an output: algorithms that round differently are no fault
Answers = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Parts:
    """What enqueues each part of a request on a stream; the kernels say where they put outputs of the library's."""

    give: Work
    kernels: Callable[[Stream], Mapping[str, Produced] | None]
    fetch: Work


class RequestGraphs:
    """The graphs of one worker, captured one by one and freed together."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._graphs: list[Graph] = []
        self._held: list[Mapping[str, Produced]] = []  # what they write to, on the device and on the host
        self._written: list[Mapping[str, NDArray[Any]]] = []

    def whole(self, request: Callable[[Lanes], None], slot: Slot) -> Callable[[], None]:
        """What launches all of `request` as one graph."""
        graph = self._captured(lambda stream: request(Lanes.single(stream)))
        self._hold(slot.produced)
        launch = self._answering(graph, slot)
        stream = slot.lanes.compute
        if slot.stamps is None:
            return lambda: launch(stream)

        def stamped() -> None:
            launch(stream)
            slot.end(stream)

        return stamped

    def kernels(self, parts: Parts) -> Parts:
        """The parts with the kernels as a graph."""
        outputs: list[Mapping[str, Produced] | None] = []
        graph = self._captured(lambda stream: outputs.append(parts.kernels(stream)))
        produced = outputs[-1]
        self._hold(produced)

        def replay(stream: Stream) -> Mapping[str, Produced] | None:
            graph.launch(stream)
            return produced

        return Parts(parts.give, replay, parts.fetch)

    def copies(self, parts: Parts, slot: Slot) -> Parts:
        """The parts with either copy and its events as a graph."""
        give = self._captured(parts.give).launch
        return Parts(give, parts.kernels, self._answering(self._captured(parts.fetch), slot))

    def close(self) -> None:
        """Free them; a lost device frees nothing."""
        while self._graphs:
            with suppress(Exception):
                self._graphs.pop().close()
        self._held.clear()
        self._written.clear()

    def _captured(self, work: Work) -> Graph:
        graph = self._capture(work)
        self._graphs.append(graph)
        return graph

    def _answering(self, graph: Graph, slot: Slot) -> Callable[[Stream], None]:
        """What launches a graph that was captured just now; its answers are where its copies go, at any later time."""
        results = slot.results
        self._written.append(results)

        def launch(stream: Stream) -> None:
            graph.launch(stream)
            slot.results = results

        return launch

    def _hold(self, produced: Mapping[str, Produced] | None) -> None:
        if produced:
            self._held.append(produced)


def undisturbed(capture: Callable[[], Callable[[], None]]) -> Callable[[], None]:
    """What `capture` returns; tried anew, a few times, where it was broken from outside.

    Video decoders that open in other threads allocate on the device, which breaks any capture there
    (CUDA_ERROR_STREAM_CAPTURE_INVALIDATED).
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return capture()
        except Exception as error:
            if not any(words in str(error) for words in _DISTURBED):
                raise
    return capture()


def answered(run: Callable[[], None], slot: Slot) -> dict[str, NDArray[Any]]:
    """What a request answers, of outputs that held nothing before."""
    for out in slot.results.values() if slot.copied else ():
        out.fill(0)
    run()
    slot.last.sync()
    return {name: out.copy() for name, out in slot.results.items()}


def check_answers(plain: Callable[[], Answers], expected: Answers, got: Answers) -> None:
    """Raise BackendError where a graph answers otherwise than `expected`, and the plain way the same as before."""
    wrong = differing(expected, got)
    if wrong and not differing(expected, plain()):
        raise BackendError("a CUDA graph of the request answers otherwise than its parts do", got=", ".join(wrong))


def differing(expected: Answers, got: Answers) -> Sequence[str]:
    """Names of the outputs that are not the same, up to the rounding of other algorithms."""
    return [name for name, value in expected.items() if name not in got or not _alike(value, got[name])]


def _alike(expected: NDArray[Any], got: NDArray[Any]) -> bool:
    if expected.shape != got.shape or expected.tobytes() == got.tobytes():
        return expected.shape == got.shape
    if expected.dtype.kind != "f":
        return False
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(got)):
        return False
    values = expected[finite].astype(np.float64)
    largest = float(np.abs(values).max(initial=0.0))
    return float(np.abs(values - got[finite]).max(initial=0.0)) <= _NEAR * largest
