"""Every picture at its own size: one loaded model, with a worker's inputs for each size that comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from framepace.backends.base import DeviceTimes, Prepare, Session, Tensors, Worker
from framepace.facts.model import Layer, ModelSpec
from framepace.facts.plan import ModelPlan
from framepace.models.resolving import EXAMPLE_SIZE
from framepace.video.frame import Frame
from framepace.video.history import sides

Size = tuple[int, int]
"""(height, width)."""
_MOST_SHOWN = 4  # sizes in a note


class OwnSizes(Session):
    """A session for pictures of any size: what is made for one is kept for its next picture.

    Its shapes are those of the size that most inferences had; before the first, of an example.

    Args:
        loaded: the model, loaded for the example's size; closed with this session.

    Raises UsageError where the library loads a model for one size.
    """

    is_native = True

    def __init__(self, loaded: Session, model: ModelPlan) -> None:
        self._loaded = loaded
        self._model = model
        self._counts: Counter[Size] = Counter()
        self._sessions = {EXAMPLE_SIZE: loaded.resized(replace(model, size=EXAMPLE_SIZE))}
        self.resolved = loaded.resolved
        self.gpu = loaded.gpu
        self.placement = loaded.placement

    @property
    def spec(self) -> ModelSpec:  # type: ignore[override]
        """The model's identity, with the shapes of the usual size."""
        return self.of(self._usual).spec

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those of the library, and which sizes there were."""
        if len(self._counts) < 2:
            return self._loaded.notes
        common = sorted(size for size, _ in self._counts.most_common(_MOST_SHOWN))
        sizes = [f"{width}x{height}" for height, width in common]
        others = len(self._counts) - len(sizes)
        if others:
            sizes.append(f"{others} others")
        return (*self._loaded.notes, f"{self._model.name}: pictures of {', '.join(sizes)}, each at its own size")

    @property
    def _usual(self) -> Size:
        return max(self._counts, key=lambda size: self._counts[size], default=EXAMPLE_SIZE)

    def of(self, size: Size) -> Session:
        """The model for pictures of that size; two threads may both make one, and either will do."""
        if size not in self._sessions:
            self._sessions[size] = self._loaded.resized(replace(self._model, size=size))
        return self._sessions[size]

    def count(self, size: Size) -> None:
        """Note an inference of that size."""
        self._counts[size] += 1

    def preparer(self, model: ModelPlan, index: int = 0) -> Prepare:
        """See Session: one for each size."""
        made: dict[Size, Prepare] = {EXAMPLE_SIZE: self.of(EXAMPLE_SIZE).preparer(model, index)}

        def write(frame: Frame, inputs: Tensors, place: int) -> None:
            size = sides(frame.picture)
            if size not in made:
                made[size] = self.of(size).preparer(model, index)
            made[size](frame, inputs, place)

        return write

    def output_shapes(self, count: int) -> Mapping[str, Sequence[int]] | None:
        """See Session: of the usual size."""
        return self.of(self._usual).output_shapes(count)

    def layers(self) -> tuple[Layer, ...]:
        """See Session: of the usual size."""
        return self.of(self._usual).layers()

    def _worker(self, index: int) -> Worker:
        return _Worker(self, index)

    def _close(self) -> None:
        self._sessions.clear()
        self._loaded.close()


class _Worker(Worker):
    """A worker of the library for each size; the caller selects the size of the next inference."""

    def __init__(self, session: OwnSizes, index: int) -> None:
        self._session = session
        self._index = index
        self._workers: dict[Size, Worker] = {}
        self._choose(EXAMPLE_SIZE)

    def _choose(self, size: Size) -> None:
        if size not in self._workers:
            self._workers[size] = self._session.of(size).worker(self._index)
        self._selected = self._workers[size]

    def select(self, size: Size) -> None:
        self._session.count(size)
        self._choose(size)

    def staging(self, slot: int) -> Tensors:
        return self._selected.staging(slot)

    def enqueue(self, slot: int, count: int) -> None:
        self._selected.enqueue(slot, count)

    def wait(self, slot: int) -> Tensors:
        return self._selected.wait(slot)

    def times(self, slot: int) -> DeviceTimes | None:
        return self._selected.times(slot)

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()
