"""Sizes that a file leaves open: one question for all inputs, whose answer runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote

from framepace.errors import ModelError
from framepace.facts.model import ModelSpec, TensorSpec
from framepace.facts.plan import ModelPlan
from framepace.models.batchaxis import ANY_RANK
from framepace.models.pictures import Place, Shape, is_no_picture, place_of
from framepace.models.rehearsal import Answer, OpenInput, Question, rehearsed, usual

_RUNNABLE = frozenset({"onnx", "ort"})  # formats that are tried
_BUILT_IN = "builtin:"
_PICTURE: Shape = (1, 3, "?", "?")  # what an input of unknown rank, or of four open sizes, most likely takes


@dataclass(frozen=True)
class OpenModel:
    """A model's inputs with the shapes that are known, the batch axes and the places of pictures by name.

    `shapes` have the sizes that are known of axes of one name; `unbound` have them only where they were given.
    `named` are options that say where the pictures go, which the plan does not say yet.
    """

    spec: ModelSpec
    plan: ModelPlan
    shapes: Sequence[Shape]
    unbound: Sequence[Shape]
    axes: Mapping[str, int]
    pictures: Mapping[str, Place]
    named: str = ""

    @property
    def is_open(self) -> bool:
        """Whether an input has sizes that nobody gave."""
        return any(self._open_axes(t, s) for t, s in zip(self.spec.inputs, self.shapes, strict=True))

    def check_closed(self) -> None:
        """Raises ModelError where sizes are open: what to add to the command, with numbers that run."""
        tensors = [(t, s) for t, s in zip(self.spec.inputs, self.shapes, strict=True) if self._open_axes(t, s)]
        if not tensors:
            return
        got = "; ".join(f"{tensor.name} {shape_text(shape)}" for tensor, shape in tensors)
        answer = self._answer()
        options = " ".join([self.options(answer), *self._brought_by_frames(answer)])
        fix = f"give them, with your numbers: {options}"
        raise ModelError(f"model {self.plan.name!r} leaves sizes open", got=got, expected="numbers", fix=fix)

    def running_options(self) -> str:
        """The options with which the model runs; '' where none were found, or nothing is open."""
        answer = self._rehearsed()
        return "" if answer is None else self.options(answer)

    def _brought_by_frames(self, answer: Answer) -> Iterator[str]:
        """A value for the first input where frames bring nothing else: only alone would the model run without it."""
        inputs = self.plan.inputs
        takes_frames = (
            self.pictures or inputs.previous or inputs.states or inputs.values or answer.numbers or self.named
        )
        if not takes_frames and not any(tensor.sides for tensor in self._question().inputs):
            yield f"--input {quote(self.spec.inputs[0].name)}=1"

    def options(self, answer: Answer) -> str:
        """The options that give these sizes and numbers."""
        options = dict.fromkeys([self.named, *self._sizes(answer), *self._numbers(answer)])
        return " ".join(filter(None, options))

    def _answer(self) -> Answer:
        return self._rehearsed() or usual(self._question())

    def _rehearsed(self) -> Answer | None:
        """What runs: first with one size for axes of one name, then with states as large as they come back."""
        if not self._can_be_tried():
            return None
        return rehearsed(self._question()) or rehearsed(self._question_apart())

    def _can_be_tried(self) -> bool:
        """Whether it is a file that is tried."""
        return self.spec.format in _RUNNABLE and not self.spec.location.startswith(_BUILT_IN)

    def _question(self) -> Question:
        return self._asked(tuple(self._input(t, s) for t, s in zip(self.spec.inputs, self.shapes, strict=True)))

    def _question_apart(self) -> Question:
        """The same where an axis of a picture and one of a state have a name in common and not their size.

        Exporters name the sides of a picture and of all that is computed of it alike: Robust Video Matting's states.
        """
        inputs = (self._input(t, s) for t, s in zip(self.spec.inputs, self.unbound, strict=True))
        return self._asked(tuple(tensor.apart() for tensor in inputs))

    def _asked(self, inputs: tuple[OpenInput, ...]) -> Question:
        outputs = tuple(tensor.name for tensor in self.spec.outputs)
        states = tuple(sorted(self.plan.inputs.states.items()))
        return Question(self.spec.location, self.spec.sha256, inputs, outputs, states)

    def _input(self, tensor: TensorSpec, shape: Shape) -> OpenInput:
        if not self.pictures and _may_be_picture(shape) and not is_no_picture(tensor):
            return OpenInput(tensor.name, tensor.dtype, _PICTURE, (2, 3))
        sizes = list(shape)
        batch = self.axes.get(tensor.name)
        if batch is not None and isinstance(sizes[batch], str):
            sizes[batch] = 1
        value = self.plan.inputs.values.get(tensor.name)
        return OpenInput(tensor.name, tensor.dtype, tuple(sizes), self._sides(tensor, shape), value)

    def _sides(self, tensor: TensorSpec, shape: Shape) -> tuple[int, ...]:
        """The axes of height and width of a picture, or of one of several inputs that may take one."""
        place = self.pictures.get(tensor.name)
        if place is None and not self.pictures and not is_no_picture(tensor):
            place = place_of(shape, layout=self.plan.prepare.layout, window=self.plan.inputs.window)
        return () if place is None else place.sides(len(shape))

    def _sizes(self, answer: Answer) -> Iterator[str]:
        """The option that closes each input's open sizes."""
        for tensor, shape in zip(self.spec.inputs, self.shapes, strict=True):
            axes = self._open_axes(tensor, shape)
            place = self.pictures.get(tensor.name)
            sizes = answer.shapes[tensor.name]
            if axes and place is not None and set(axes) <= set(place.sides(len(shape))):
                height, width = (sizes[axis] for axis in place.sides(len(shape)))
                yield f"--size {width}x{height}"
            elif axes:
                yield f"--shape {quote(tensor.name)}={'x'.join(map(str, sizes))}"

    def _numbers(self, answer: Answer) -> Iterator[str]:
        for name, numbers in answer.numbers.items():
            yield f"--input {quote(name)}={','.join(map(str, numbers))}"

    def _open_axes(self, tensor: TensorSpec, shape: Shape) -> list[int]:
        """The axes without a size, apart from the batch; the only one of a shape that says nothing at all."""
        if shape == ANY_RANK:
            return [0]
        batch = self.axes.get(tensor.name)
        return [axis for axis, dim in enumerate(shape) if isinstance(dim, str) and axis != batch]


def _may_be_picture(shape: Shape) -> bool:
    """Whether nothing speaks against a picture: any rank, or four axes of which all but the batch are open."""
    return shape == ANY_RANK or (len(shape) == 4 and all(isinstance(dim, str) for dim in shape[1:]))


def shape_text(shape: Shape) -> str:
    """'[1, 3, height, width]'."""
    return "[" + ", ".join(str(dim) for dim in shape) + "]"
