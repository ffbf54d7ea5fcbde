"""The batches of requests that run, and what batches cost."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from framepace.feeds.flights import Flights
from framepace.serving.durations import Durations
from framepace.video.frame import Frame


class _Batch(Struct, frozen=True, eq=False):
    """A batch that runs: when it began and is expected to end (ns)."""

    began: int
    ends: int


class Running:
    """Batches that were taken and are not delivered yet. Callers hold one lock around all calls.

    Args:
        weighs: whether `flights` are kept, which the policy 'deadline' weighs; nobody else asks.

    Attributes:
        durations: what batches take as they run, beside others or not; the costs of `flights` are those of batches
            alone, which say nothing where none ever runs alone.
        landed: when the last one was delivered (ns).
    """

    def __init__(self, weighs: bool) -> None:
        self.flights = Flights()
        self.durations = Durations()
        self.landed = 0
        self._weighs = weighs
        self._batches: dict[int, _Batch] = {}  # by the number of the first frame

    def __len__(self) -> int:
        return len(self._batches)

    def first_end(self, now: int) -> int:
        """When the first of them is expected to end (ns); `now` where none runs."""
        return min((batch.ends for batch in self._batches.values()), default=now)

    def take_off(self, now: int, frames: Sequence[Frame]) -> None:
        """The batch runs from now on."""
        if self._weighs:
            self.flights.take_off(now, frames)
        self._batches[frames[0].number] = _Batch(now, now + round(self.durations.mean(len(frames))))

    def shrink(self, frames: Sequence[Frame], fit: Sequence[Frame]) -> None:
        """Of a batch that was taken only those that are fit go on."""
        batch = self._batches.pop(frames[0].number)
        if self._weighs:
            self.flights.land(frames, batch.began, failed=True)
        if not fit:
            return
        if self._weighs:
            self.flights.take_off(batch.began, fit)
        self._batches[fit[0].number] = batch

    def land(self, now: int, frames: Sequence[Frame], failed: bool) -> int:
        """The batch that begins with the first of `frames` was delivered, or failed; how long it took (ns)."""
        took = now - self._batches.pop(frames[0].number, _Batch(now, now)).began
        if self._weighs:
            self.flights.land(frames, now, failed)
        self.landed = now
        if took > 0 and not failed:
            self.durations.add(len(frames), took)
        return took

    def forget(self) -> None:
        """What batches cost is not known any more."""
        self.durations = Durations()
