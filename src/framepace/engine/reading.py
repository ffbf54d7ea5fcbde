"""What is measured is what runs: outputs of measured frames are read as the plan says, as those of a run are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from framepace.backends.base import Session, Tensors, get_backend
from framepace.engine.crops import Read, answer_of
from framepace.engine.step import Finish
from framepace.errors import PlanError, one_line
from framepace.facts.plan import ModelPlan
from framepace.models.answers import answer_reader
from framepace.video.frame import Frame


def measured_finish(
    models: Iterable[tuple[ModelPlan, Session]], hook: Finish | None, tell: Callable[[str], None]
) -> Finish | None:
    """Reads the outputs of each frame, then calls the hook with them; None where neither is to be done.

    Only models whose outputs are their own here are read. `tell` takes a sentence on outputs that cannot be read,
    which end no measurement.
    """
    readers = {model.name: answer_reader(model, session.resolved) for model, session in models if _is_read(model)}
    if not readers:
        return hook
    return _Reading(readers, hook, tell)


def _is_read(model: ModelPlan) -> bool:
    backend = get_backend(model.backend)
    return model.post.read != "none" and backend.computes and not (backend.simulated or backend.remote)


class _Reading:
    """See engine.step.Finish; a reader that fails is left out from then on."""

    def __init__(self, readers: Mapping[str, Read], hook: Finish | None, tell: Callable[[str], None]) -> None:
        self._readers = dict(readers)
        self._hook = hook
        self._tell = tell

    def __call__(self, model: str, outputs: Tensors, frame: Frame) -> Any:
        """The answer, where the outputs can be read."""
        answer = self._read(model, outputs, frame)
        if self._hook is not None:
            self._hook(model, outputs, frame)
        return answer

    def _read(self, model: str, outputs: Tensors, frame: Frame) -> Any:
        read = self._readers.get(model)
        if read is None:
            return None
        try:
            return answer_of(read, outputs, frame)
        except PlanError:
            raise
        except Exception as error:  # of another family than it seemed, say: `run` fails such frames, and says why
            self._readers.pop(model, None)
            self._tell(f"outputs of {model} cannot be read, and are not measured: {one_line(error)}")
            return None
