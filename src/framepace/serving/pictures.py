"""All models of a plan as one: encoded pictures in, decoded and prepared as the plan says, all outputs back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from framepace.backends.base import Prepare, Session, Tensors
from framepace.errors import FramepaceError, UsageError
from framepace.facts.plan import ModelPlan, Plan
from framepace.models.filling import check_takes_frames
from framepace.models.resolved import Resolved
from framepace.openinference.datatypes import BYTES
from framepace.openinference.errors import RequestError
from framepace.serving.feed import Unfit
from framepace.serving.interface import Interface, Tensor
from framepace.serving.model import ServedModel, Surroundings, interface_of_model
from framepace.serving.request import Item, Ticket
from framepace.serving.sessions import TensorSession
from framepace.video.encoded import decoded
from framepace.video.frame import Frame

PICTURE = "picture"
_PLATFORM = "framepace_pictures"


class PictureSession(TensorSession):
    """A loaded model for frames that carry requests whose only tensor is an encoded picture."""

    def preparer(self, model: ModelPlan, index: int = 0) -> Prepare:
        """See Session: the decoded picture goes where pictures go."""
        prepare = self._session.preparer(model, index)
        return _picture_writer(prepare, self._now)


def _picture_writer(prepare: Prepare, now: Callable[[], int]) -> Prepare:
    def write(frame: Frame, inputs: Tensors, place: int) -> None:
        item: Item = frame.picture
        prepare(dataclasses.replace(frame, picture=item.ticket.pictures[item.index]), inputs, place)
        item.ticket.prepared = now()

    return write


def unfit_pictures(ticket: Ticket) -> RequestError | None:
    """Decode all pictures of a request, once for all models; what is wrong with the first that is none."""
    encoded = ticket.arrays[PICTURE].ravel()  # type: ignore[union-attr]
    for index in range(ticket.items):
        if index in ticket.pictures:
            continue
        try:
            ticket.pictures[index] = decoded(encoded[index])
        except FramepaceError as error:
            where = f"element {index} of input '{PICTURE}'"
            return RequestError(f"{where}: {error.what}: {error.got}; expected {error.expected}")
    return None


class ServedPictures(ServedModel):
    """All models of a plan behind one name: input 'picture' (BYTES), outputs of all of them.

    Outputs are called MODEL.OUTPUT where the plan has several models.
    """

    def __init__(self, name: str, plan: Plan, version: str, surroundings: Surroundings) -> None:
        super().__init__(plan, version, surroundings, name)
        self._prefixes = {model.name: f"{model.name}." if len(plan.models) > 1 else "" for model in plan.models}

    def _unfit(self) -> Unfit:
        return unfit_pictures

    def _wrapped(self, session: Session) -> Session:
        return PictureSession(session, self._clock.now)

    def _interface(self, sessions: Sequence[Session]) -> Interface:
        parts = []
        for model, session in zip(self.plan.models, sessions, strict=True):
            _check_takes_pictures(model, session.resolved)
            parts.append(interface_of_model(model, session))
        most = min(part.most for part in parts)
        picture = Tensor(PICTURE, BYTES, (-1,) if most > 1 else (1,), 0, columns=True)
        return Interface(self.name, (picture,), self._outputs(parts), most, _PLATFORM)

    def _outputs(self, parts: Sequence[Interface]) -> tuple[Tensor, ...]:
        """All outputs of all models, by their names in answers."""
        named = [(part.name, tensor) for part in parts for tensor in part.outputs]
        return tuple(dataclasses.replace(tensor, name=self._prefixes[model] + tensor.name) for model, tensor in named)

    def _output_name(self, model: str, output: str) -> str:
        return self._prefixes[model] + output


def _check_takes_pictures(model: ModelPlan, resolved: Resolved) -> None:
    """Raise FramepaceError for a model that needs more than one picture."""
    check_takes_frames(model, resolved)
    if model.inputs.states or resolved.pictures_before or resolved.made_up or not resolved.images:
        got = f"{model.name}: {', '.join(tensor.name for tensor in resolved.inputs)}"
        fix = "leave out --pictures, and send it tensors"
        raise UsageError("one picture alone is not enough for a model", got=got, fix=fix)
