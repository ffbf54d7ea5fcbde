"""The accuracy gate: a way to run a model against its reference in FP32, on the same frames of the user's source."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.backends.base import Prepare, Session, Tensors, Worker, get_backend
from framepace.clock.system import SystemClock
from framepace.devices.cuda import lock_setup
from framepace.errors import ModelError, UsageError
from framepace.facts.accuracy import Agreement, Gate, default_gate
from framepace.facts.plan import Batching, ModelPlan
from framepace.facts.workload import Input
from framepace.interrupts import INFERENCE_ON_DEVICE_S, ended_after
from framepace.models.batchaxis import divided
from framepace.models.checked import note_check
from framepace.models.convert import calibration
from framepace.models.convert.variant import is_quantised, weight_files
from framepace.models.inputs import draw
from framepace.models.spec import inspect, resolve
from framepace.models.states import States
from framepace.numerics.metrics import Metric, is_own, optional_metric
from framepace.numerics.steadiness import check_steady, differs
from framepace.numerics.tallying import LEAST, Numbers, tallied, verdict
from framepace.patience import patiently
from framepace.progress import Tell, silent
from framepace.recording.machine import probe
from framepace.store import cache
from framepace.video.frame import Frame
from framepace.video.history import sides
from framepace.video.source import SYNTHETIC, decode_all

Fill = Callable[[Any, int], None]  # writes the inputs of a picture (or of its number) at a place of the batch
FRAMES = 32
LARGEST_LEAST = 1e9  # a metric of the user's may have any scale
_VERSION = 7  # of the comparison, part of the cache key: raise it when the same plans would be compared differently


def agreement(
    candidate: ModelPlan,
    input: Input,
    gate: Gate | None = None,
    *,
    reference: ModelPlan | None = None,
    frames: int = FRAMES,
    seed: int = 0,
    tell: Tell = silent,
    metric: str | None = None,
    least: float = LEAST,
    stoppable: bool = False,
    decoded_on: int | None = None,
) -> Agreement:
    """Whether the outputs of `candidate` agree with its reference in FP32, on the same frames, prepared for each.

    Both are loaded at once. A model without an image input gets seeded random inputs. The numbers are kept in the
    cache by models, settings, frames and machine, but those of live streams and of hooks are not. FP16 is compared
    where it runs: on a CPU ONNX Runtime computes most of an FP16 file in FP32, which hides what would overflow.

    Args:
        input: videos and folders of pictures, over which frames are spread; streams, or 'synthetic' (by default).
        gate: `default_gate` of the candidate's precision when None.
        reference: `reference_of(candidate)` when None.
        frames: how many frames in all, at most 64 per source.
        seed: of synthetic video and random inputs.
        metric: 'top5', 'detections', 'text' or 'module:function', which decides in place of the gate's limits.
        least: that the metric must reach, on average over the frames.
        stoppable: whether Ctrl-C gives the numbers of the frames so far.
        decoded_on: CUDA's number of the GPU that decodes the candidate's pictures; the reference's are the host's.

    Raises:
        UsageError: int8 without frames to calibrate on, a backend that computes nothing, an engine without a
            `reference`. ModelError: other inputs, or another number of outputs. What loading and running raise.
    """
    _check(candidate, frames)
    reference = reference or reference_of(candidate)
    _check(reference, frames)
    compares = optional_metric(metric, advises=True)
    name = cache_name(candidate, reference, input, (frames, seed, metric, decoded_on))
    numbers = _cached(name)
    if numbers is None:
        tell(f"comparing outputs of {candidate.name}", None)
        models = (reference, candidate)
        decoded = partial(_decoded, input, frames, seed, decoded_on)
        numbers = _compare(models, decoded, frames, seed, tell, compares, stoppable)
        if numbers.complete:
            _keep(name, numbers)
    judged = verdict(numbers, gate or default_gate(candidate.precision), metric, least)
    _note(candidate, reference, input, judged)
    return judged


def reference_of(model: ModelPlan) -> ModelPlan:
    """The same model in FP32: by ONNX Runtime on the CPU where it is an ONNX file, else by its own backend.

    Preparation is the host's. Raises UsageError for a built engine, which holds no FP32 original.
    """
    backend = get_backend(model.backend)
    if backend.is_built(model.model):
        fix = "name the ONNX file that it was built from as the reference"
        raise UsageError("an engine cannot be run in another precision", got=model.model, fix=fix)
    plain = replace(model, precision="fp32", prepare=replace(model.prepare, place="host"), graph=False, sms=None)
    if inspect(model.model).format == "onnx":
        return replace(plain, backend="onnxruntime", device="cpu", options={}, calibration=None)
    plain = replace(plain, options={}, calibration=None)
    if "tf32" in backend.options:
        return replace(plain, options={"tf32": False})
    return plain


def _note(candidate: ModelPlan, reference: ModelPlan, input: Input, judged: Agreement) -> None:
    """Keep that a precision was checked against the same file in FP32, so that a run of it need not ask for that."""
    tells = judged.complete and not judged.says_nothing
    same = candidate.model == reference.model and reference.precision == "fp32"
    if tells and same and not get_backend(candidate.backend).is_built(candidate.model):
        videos = tuple(name for name in input.videos if name != SYNTHETIC)
        note_check(candidate, videos, judged.passed)


def takes_pictures(model: ModelPlan) -> bool:
    """Whether an input of the model's file takes the frame; a built engine is taken to have one."""
    if get_backend(model.backend).is_built(model.model):
        return True
    return resolve(inspect(model.model), model).image is not None


def _check(model: ModelPlan, frames: int) -> None:
    if frames < 1:
        raise UsageError("there is nothing to compare", got=f"{frames} frames", expected="one frame or more")
    if get_backend(model.backend).simulated:
        fix = "use a backend that runs the model"
        raise UsageError("a simulated device computes no outputs to compare", got=model.backend, fix=fix)
    if model.precision == "int8" and model.calibration is None and not _calibrated(model):
        fix = "--set calibration=VIDEO|FOLDER (frames of your own)"
        raise UsageError(f"precision int8 of {model.name!r} needs frames to calibrate on", got="none", fix=fix)


def _calibrated(model: ModelPlan) -> bool:
    """Whether the file holds its scales already."""
    if get_backend(model.backend).is_built(model.model):
        return True
    return inspect(model.model).format == "onnx" and is_quantised(model.model)


def _decoded(input: Input, count: int, seed: int, gpu: int | None) -> tuple[Sequence[Any], Sequence[Any]]:
    """The pictures of the reference and of the candidate, the same frames."""
    pictures = pictures_of(input, count, seed)
    if gpu is None:
        return pictures, pictures
    return pictures, pictures_of(input, count, seed, gpu)


def pictures_of(input: Input, count: int, seed: int, gpu: int | None = None) -> list[Any]:
    """Up to `count` pictures that outputs are compared on, as many of each source; decoded on `gpu` if one is given.

    Raises SourceError; ModelError where the sources hold none.
    """
    names = input.videos or (SYNTHETIC,)
    share = math.ceil(count / len(names))
    by_source = (_of_source(name, input, count, seed, gpu)[:share] for name in names)
    pictures = [picture for some in by_source for picture in some][:count]
    if not pictures:
        raise ModelError("the sources hold no frames", got=", ".join(names))
    return pictures


def _of_source(name: str, input: Input, count: int, seed: int, gpu: int | None) -> Sequence[Any]:
    if name == SYNTHETIC or _live(name):
        return decode_all(name, count, size=input.size, seed=seed, gpu=gpu)
    return calibration.pictures_of(name, gpu)


def _live(name: str) -> bool:
    return "://" in name and not name.startswith("file://")


def agreement_on(
    pictures: Sequence[Any],
    candidate: ModelPlan,
    reference: ModelPlan,
    gate: Gate | None = None,
    *,
    seed: int = 0,
    tell: Tell = silent,
    metric: str | None = None,
    least: float = LEAST,
) -> Agreement:
    """The same on pictures that are decoded already; nothing is kept in the cache."""
    models = (reference, candidate)
    numbers = _compare(models, lambda: (pictures, pictures), len(pictures), seed, tell, optional_metric(metric))
    return verdict(numbers, gate or default_gate(candidate.precision), metric, least)


def _compare(
    models: tuple[ModelPlan, ModelPlan],
    decoded: Callable[[], tuple[Sequence[Any], Sequence[Any]]],
    frames: int,
    seed: int,
    tell: Tell,
    metric: Metric,
    stoppable: bool = False,
) -> Numbers:
    """The numbers; `models` are the reference and the candidate, `decoded` gives pictures of both if they take some."""
    with ExitStack() as stack:
        reference, candidate = (_LoadedModel(model, stack, tell) for model in models)
        _check_inputs(reference, candidate)
        pictures: tuple[Sequence[Any], Sequence[Any]] = (range(frames), range(frames))
        if reference.takes_pictures:
            pictures = decoded()
        outputs = zip(reference.outputs(pictures[0], seed), candidate.outputs(pictures[1], seed), strict=True)
        numbers = tallied(outputs, len(pictures[0]), tell, metric, stoppable)
        # Afterwards: networks that draw from a seed answer alike as long as both sides were asked as often.
        if any(map(differs, numbers.outputs)) and not reference.keeps_states:
            check_steady(lambda: next(reference.outputs(pictures[0][:1], seed)))
        return numbers


def paired_outputs(
    models: tuple[ModelPlan, ModelPlan], pictures: Sequence[Any], seed: int, tell: Tell
) -> Iterator[tuple[Tensors, Tensors]]:
    """The outputs of both for each picture (the frame's number for models without any), valid until the next."""
    with ExitStack() as stack:
        one, other = (_LoadedModel(model, stack, tell) for model in models)
        yield from zip(one.outputs(pictures, seed), other.outputs(pictures, seed), strict=True)


class _LoadedModel:
    """A model loaded as its plan says, fed frame by frame; closed with `stack`."""

    def __init__(self, model: ModelPlan, stack: ExitStack, tell: Tell) -> None:
        self._plan = _answering(model)
        self.session: Session = get_backend(model.backend).load(self._plan, SystemClock(), tell)
        stack.callback(self.session.close)
        self._states = States(self.session.resolved) if self.session.resolved.states else None
        with lock_setup():
            self._worker: Worker = self.session.worker()
            stack.callback(self._worker.close)
            self._own_preparer = self._worker.preparer(self._plan)
            self._worker.prime()

    @property
    def takes_pictures(self) -> bool:
        """Whether one of its inputs takes the frame."""
        return self.session.resolved.image is not None

    @property
    def keeps_states(self) -> bool:
        """Whether what it answers depends on the frames before."""
        return self._states is not None

    def outputs(self, pictures: Sequence[Any], seed: int) -> Iterator[dict[str, NDArray[Any]]]:
        """The outputs per picture. A last batch is filled up with the first pictures, whose outputs are left out."""
        size = self._plan.batch.max
        fill = self._preparation(seed)
        for first in range(0, len(pictures), size):
            for place in range(size):
                fill(pictures[(first + place) % len(pictures)], place)
            outputs = self._infer(size)
            if self._states is not None:
                self._states.keep([_frame(first)], outputs, self.session.output_axes)
            for place in range(min(size, len(pictures) - first)):
                yield divided(outputs, place, self.session.output_axes)

    def _infer(self, size: int) -> Tensors:
        """The outputs of a batch; a server that has no room at the moment is asked again."""
        with ended_after(INFERENCE_ON_DEVICE_S, f"an inference of {self._plan.name}"):
            return patiently(partial(self._once, size))

    def _once(self, size: int) -> Tensors:
        self._worker.enqueue(0, size)
        return self._worker.wait(0)

    def _preparation(self, seed: int) -> Fill:
        """Pictures prepared, values by the frame's number, states; the rest random by frame and input."""
        resolved = self.session.resolved
        numbers = itertools.count()
        writes: list[Prepare] = []
        if not self.takes_pictures:
            writes.append(self._random(seed))
        if self.takes_pictures or resolved.values:
            writes.append(self._own_preparer or self.session.preparer(self._plan))
        if self._states is not None:
            writes.append(self._states.write)

        def fill(picture: Any, place: int) -> None:
            frame = _frame(next(numbers), picture)
            if self.session.is_native:
                self._worker.select(sides(picture))
            inputs = self._worker.staging(0)
            for write in writes:
                write(frame, inputs, place)

        return fill

    def _random(self, seed: int) -> Prepare:
        """Random inputs, seeded by the frame's number and the input's name: the same for both models."""
        resolved = self.session.resolved
        names = sorted(resolved.made_up)

        def write(frame: Frame, inputs: Tensors, place: int) -> None:
            for index, name in enumerate(names):
                if place == 0 or resolved.axis(name) is not None:
                    rng = np.random.default_rng([seed, frame.number, index])
                    draw(resolved.item(name, inputs[name], place), rng)

        return write


def _frame(number: int, picture: Any = None) -> Frame:
    return Frame(number, 0, 0, 0, 0, 0, 0, picture)


def _answering(model: ModelPlan) -> ModelPlan:
    """The plan without settings that affect speed only, so that one comparison serves many plans.

    Inputs that stay on the device (`transfer`) would be those of the first frame.
    """
    batch = Batching(max=model.batch.max)
    if model.inputs.states or model.is_native:  # one frame after the other
        batch = Batching()
    return replace(model, batch=batch, slots=1, transfer="pinned", stream="own", spinning=True)


def _check_inputs(reference: _LoadedModel, candidate: _LoadedModel) -> None:
    expected, actual = (sorted(model.session.resolved.shapes) for model in (reference, candidate))
    if expected != actual and not len(expected) == len(actual) == 1:
        fix = "compare two forms of the same model"
        raise ModelError("the inputs have other names than the reference's", got=actual, expected=expected, fix=fix)


def cache_name(
    candidate: ModelPlan, reference: ModelPlan, input: Input, how: tuple[int, int, str | None, int | None]
) -> str | None:
    """The name of the numbers in the cache; None where the frames, or a server's model, may be others the next time."""
    models = (candidate, reference)
    metric = how[2]
    hooked = any(model.prepare.hook for model in models) or is_own(metric)
    remote = any(get_backend(model.backend).remote for model in models)
    if hooked or remote or any(map(_live, input.videos)):
        return None
    videos = [calibration.calibration_key(replace(candidate, calibration=name)) for name in input.videos]
    parts = [part for model in models for part in _settings(model)]
    key = cache.key(_VERSION, probe().fingerprint, *parts, input.size, *videos, *how)
    return f"agreements/{key}.json"


def _settings(model: ModelPlan) -> Iterator[object]:
    """All that decides the outputs of a model."""
    backend = get_backend(model.backend)
    yield msgspec.json.encode(replace(_answering(model), name=""))
    yield backend.versions()
    if backend.is_built(model.model):
        yield _stamp(Path(model.model))
        return
    spec = inspect(model.model)
    yield spec.sha256
    if spec.format == "onnx":
        yield from map(_stamp, weight_files(model.model))
    yield calibration.calibration_key(model)


def _stamp(path: Path) -> str:
    """A text that changes with the file."""
    if not path.is_file():
        return str(path)
    return f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}"


def _cached(name: str | None) -> Numbers | None:
    path = cache.folder() / (name or "")
    if name is None or not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Numbers)
    except (OSError, msgspec.DecodeError):  # damaged: it is made again
        return None


def _keep(name: str | None, numbers: Numbers) -> None:
    if name is not None:
        cache.put(name, msgspec.json.encode(numbers))
