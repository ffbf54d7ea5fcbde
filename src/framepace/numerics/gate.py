"""The accuracy gate: a way to run a model beside its reference in FP32, on the same frames of the user's source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.analyze.agreement import Tally, judged
from framepace.backends.base import Session, Tensors, Worker, get_backend
from framepace.backends.tensorrt.engine import is_engine
from framepace.clock.system import SystemClock
from framepace.devices.cuda import lock_setup
from framepace.errors import ModelError, UsageError
from framepace.facts.accuracy import Agreement, Gate, OutputAgreement, default_gate
from framepace.facts.plan import Batching, ModelPlan
from framepace.facts.workload import Input
from framepace.models.convert import calibration
from framepace.models.convert.variant import is_quantised, weight_files
from framepace.models.spec import inspect
from framepace.progress import Tell, silent
from framepace.recording.machine import probe
from framepace.store import cache
from framepace.video.prepare import Preparer
from framepace.video.source import SYNTHETIC, decode_all

FRAMES = 32
_MADE = 1  # to be raised when the same plans would be compared differently


class _Found(msgspec.Struct):
    """What the cache keeps: the numbers, so that another gate asks for no other run."""

    frames: int
    outputs: tuple[OutputAgreement, ...]


def agreement(
    candidate: ModelPlan,
    input: Input,
    gate: Gate | None = None,
    *,
    reference: ModelPlan | None = None,
    frames: int = FRAMES,
    seed: int = 0,
    tell: Tell = silent,
) -> Agreement:
    """Whether `candidate` answers as its reference in FP32 does, on the same frames, each prepared for either.

    Both are loaded at once. A model without an image input gets seeded random inputs. The numbers are kept in the
    cache by models, settings, frames and machine, but those of live streams and of hooks are not. FP16 is compared
    where it runs: on a CPU ONNX Runtime computes most of an FP16 file in FP32, which hides what would overflow.

    Args:
        input: videos and folders of pictures, over which frames are spread; streams, or 'synthetic' (by default).
        gate: `default_gate` of the candidate's precision when None.
        reference: `reference_of(candidate)` when None.
        frames: how many frames in all, at most 64 a source.
        seed: of synthetic video and random inputs.

    Raises:
        UsageError: int8 without frames to calibrate on, a backend that computes nothing, an engine without a
            `reference`. ModelError: inputs or outputs of both have other names. What loading and running raise.
    """
    _check(candidate, frames)
    reference = reference or reference_of(candidate)
    _check(reference, frames)
    name = _name(candidate, reference, input, frames, seed)
    found = _kept(name)
    if found is None:
        tell(f"comparing outputs of {candidate.name}", None)
        found = _compare((reference, candidate), input, frames, seed, tell)
        if name is not None:
            cache.put(name, msgspec.json.encode(found))
    return judged(found.frames, found.outputs, gate or default_gate(candidate.precision))


def reference_of(model: ModelPlan) -> ModelPlan:
    """The same model in FP32: by ONNX Runtime on the CPU where it is an ONNX file, else by its own backend.

    Preparation is the host's. Raises UsageError for a built engine, which holds no FP32 original.
    """
    if is_engine(model.model):
        fix = "name the ONNX file that it was built from as the reference"
        raise UsageError("an engine cannot be run in another precision", got=model.model, fix=fix)
    plain = replace(model, precision="fp32", prepare=replace(model.prepare, place="host"), graph=False, sms=None)
    if inspect(model.model).format == "onnx":
        return replace(plain, backend="onnxruntime", device="cpu", options={}, calibration=None)
    exact = {"tf32": False} if "tf32" in get_backend(model.backend).options else {}
    return replace(plain, options=exact, calibration=None)


def _check(model: ModelPlan, frames: int) -> None:
    if frames < 1:
        raise UsageError("there is nothing to compare", got=f"{frames} frames", expected="one frame or more")
    if get_backend(model.backend).simulated:
        fix = "use a backend that runs the model"
        raise UsageError("a simulated device computes no outputs to compare", got=model.backend, fix=fix)
    if model.precision == "int8" and model.calibration is None and not _calibrated(model.model):
        fix = "--set calibration=VIDEO|FOLDER (frames of your own)"
        raise UsageError(f"precision int8 of {model.name!r} needs frames to calibrate on", got="none", fix=fix)


def _calibrated(location: str) -> bool:
    return is_engine(location) or (inspect(location).format == "onnx" and is_quantised(location))


def _pictures(input: Input, count: int, seed: int) -> list[Any]:
    """Up to `count` pictures, as many of each source. Raises SourceError."""
    names = input.videos or (SYNTHETIC,)
    each = -(-count // len(names))
    found = (_of(name, input, count, seed)[:each] for name in names)
    return [picture for pictures in found for picture in pictures][:count]


def _of(name: str, input: Input, count: int, seed: int) -> Sequence[Any]:
    if name == SYNTHETIC or _live(name):
        return decode_all(name, count, size=input.size, seed=seed)
    return calibration.pictures_of(name)


def _live(name: str) -> bool:
    return "://" in name and not name.startswith("file://")


def _compare(models: tuple[ModelPlan, ...], input: Input, frames: int, seed: int, tell: Tell) -> _Found:
    """The numbers; `models` are the reference and the candidate."""
    with ExitStack() as stack:
        sides = [_Side(model, stack, tell) for model in models]
        _alike(*sides)
        pictures = _pictures(input, frames, seed) if sides[0].takes_pictures else range(frames)
        tallies: dict[str, Tally] = {}
        outputs = (side.outputs(pictures, seed) for side in sides)
        for number, (wanted, got) in enumerate(zip(*outputs, strict=True)):
            _add(tallies, wanted, got)
            tell("comparing outputs", (number + 1) / len(pictures))
    return _Found(len(pictures), tuple(tally.result() for tally in tallies.values()))


def _add(tallies: dict[str, Tally], wanted: Tensors, got: Tensors) -> None:
    if wanted.keys() != got.keys():
        raise ModelError("the outputs have other names than the reference's", got=list(got), expected=list(wanted))
    for name, values in wanted.items():
        tallies.setdefault(name, Tally(name)).add(values, got[name])


class _Side:
    """A model loaded as its plan says, fed frame by frame; closed with `stack`."""

    def __init__(self, model: ModelPlan, stack: ExitStack, tell: Tell) -> None:
        self._plan = _answering(model)
        self.session: Session = get_backend(model.backend).load(self._plan, SystemClock(), tell)
        stack.callback(self.session.close)
        with lock_setup():
            self._worker: Worker = self.session.worker()
            stack.callback(self._worker.close)
            self._worker.prime()

    @property
    def takes_pictures(self) -> bool:
        """Whether one of its inputs takes the frame."""
        return self.session.resolved.image is not None

    def outputs(self, pictures: Sequence[Any], seed: int) -> Iterator[dict[str, NDArray[Any]]]:
        """The outputs of each picture; a last batch is filled up with the first pictures, and those left out."""
        size = self._plan.batch.max
        fill = self._prepared() if self.takes_pictures else self._drawn(seed)
        for first in range(0, len(pictures), size):
            for place in range(size):
                fill(pictures[(first + place) % len(pictures)], place)
            self._worker.enqueue(0, size)
            made = self._worker.wait(0)
            for place in range(min(size, len(pictures) - first)):
                yield {name: _of_frame(values, place, size) for name, values in made.items()}

    def _prepared(self) -> Any:
        image = self.session.resolved.image
        assert image is not None
        size = (image.height, image.width)
        prepare = Preparer(self._plan.prepare, size, image.layout, image.channels, image.dtype)
        into = self._worker.staging(0)[image.name]
        return lambda picture, place: prepare(picture, into[place])

    def _drawn(self, seed: int) -> Any:
        """Inputs of the frame's number and name, so that they are the same for both sides."""
        staging = self._worker.staging(0)

        def fill(number: int, place: int) -> None:
            for index, name in enumerate(sorted(staging)):
                _draw(staging[name], place, self._plan.batch.max, np.random.default_rng([seed, number, index]))

        return fill


def _answering(model: ModelPlan) -> ModelPlan:
    """The plan without what only decides how fast it answers, so that one comparison serves many plans.

    Inputs that stay on the device (`transfer`) would be those of the first frame.
    """
    batch = Batching(max=model.batch.max)
    return replace(model, batch=batch, slots=1, transfer="pinned", stream="own", spinning=True)


def _draw(into: NDArray[Any], place: int, size: int, rng: np.random.Generator) -> None:
    """One item of a batch; what has no batch is drawn with the first. Within what `staging_array` allows itself."""
    if into.shape[:1] == (size,):
        into = into[place]
    elif place:
        return
    shape = into.shape
    into[...] = rng.random(shape, dtype=np.float32) if into.dtype.kind in "fV" else rng.integers(0, 2, shape)


def _of_frame(values: Any, place: int, size: int) -> NDArray[Any]:
    """The part of an output that is of one frame; all of it where it has no batch."""
    array = np.asarray(values)
    return array[place : place + 1] if array.shape[:1] == (size,) else array


def _alike(reference: _Side, candidate: _Side) -> None:
    wanted, got = (sorted(side.session.resolved.shapes) for side in (reference, candidate))
    if wanted != got:
        fix = "compare two forms of the same model"
        raise ModelError("the inputs have other names than the reference's", got=got, expected=wanted, fix=fix)


def _name(candidate: ModelPlan, reference: ModelPlan, input: Input, frames: int, seed: int) -> str | None:
    """Where the cache keeps the numbers; None where nobody knows whether the frames are the same again."""
    sides = (candidate, reference)
    if any(map(_live, input.videos)) or any(side.prepare.hook for side in sides):
        return None
    shown = [calibration.calibration_key(replace(candidate, calibration=name)) for name in input.videos]
    parts = [part for side in sides for part in _settings(side)]
    return f"agreements/{cache.key(_MADE, probe().fingerprint, *parts, input.size, *shown, frames, seed)}.json"


def _settings(model: ModelPlan) -> Iterator[object]:
    """All that decides what a model answers."""
    yield from (msgspec.json.encode(replace(_answering(model), name="")), get_backend(model.backend).versions())
    if is_engine(model.model):
        yield _stamp(Path(model.model))
        return
    found = inspect(model.model)
    yield found.sha256
    yield from map(_stamp, weight_files(model.model) if found.format == "onnx" else ())
    yield calibration.calibration_key(model)


def _stamp(path: Path) -> str:
    return f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" if path.is_file() else str(path)


def _kept(name: str | None) -> _Found | None:
    path = cache.folder() / (name or "")
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Found) if name and path.is_file() else None
    except (OSError, msgspec.DecodeError):  # damaged: it is made again
        return None
