"""From names to a case: models, videos, a rate, a budget and settings say what is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from framepace import values
from framepace.backends.base import backend_for, get_backend
from framepace.errors import UsageError, unknown
from framepace.facts.address import shown
from framepace.facts.plan import EnginePlan, ModelPlan, Plan, Target
from framepace.facts.settings import Case, apply, checked
from framepace.facts.workload import Closed, Delay, Input, Load, Paced, Scope, Stop, Workload
from framepace.models.spec import inspect, stem
from framepace.naming import NamedInputs, with_inputs
from framepace.openinference.client.address import is_address
from framepace.store import load_plan
from framepace.values import HIGHEST_RATE, LARGEST_SEED, LONGEST_MS, LOWEST_RATE, SHORTEST_MS

if TYPE_CHECKING:
    from typing_extensions import Unpack

DEFAULT_FPS = 30.0
_PLAN_ENDINGS = (".yaml", ".yml")
_MODEL = "a path to an .onnx file, or builtin:NAME"
_ROOM_FOR_NUMBER = 8
_OPEN_IN_FLIGHT = 16
DEFAULT_STOP = Stop(seconds=10.0)

Models = str | Sequence[str] | Plan | Case
"""Paths of models or 'builtin:NAME', one plan file (.yaml), a plan, or a case that is complete already."""


class RunOptions(NamedInputs, total=False):
    """How models are run and what with; every verb takes these as keywords.

    Attributes:
        videos: video files or stream addresses; none means synthetic frames.
        load: how requests arrive, instead of `fps` frames per second.
        scope: 'model', 'pipeline' or 'stream': the model alone, with preparation, or from the video on.
        stop: when a run ends; after 10 s by default.
        settings: setting name -> value, as `framepace settings` lists them.
        shapes: input name -> shape with the batch, for models whose inputs are not fully described.
        seed: of the load and of random inputs.
        inputs: input name -> number, list, text, or path of a .npy or .npz file.
        images: inputs that take the picture.
        previous: inputs that take the picture before, of the same source.
        states: input name -> output that is fed back to it, for each source; zero at first.
        window: (pictures, stride) of clips, or the number of pictures alone.
    """

    videos: Sequence[str]
    load: Load | None
    scope: Scope
    stop: Stop | None
    settings: Mapping[str, Any] | None
    shapes: Mapping[str, tuple[int, ...]] | None
    seed: int


class CaseOptions(RunOptions, total=False):
    """The options of a run, with its rate and its budget.

    Attributes:
        fps: frames per second of each source: the load and the target. None with no `load`: back to back.
        p99_ms: the frame budget in ms; the frame period by default.
    """

    fps: float | None
    p99_ms: float | None


def make_case(
    models: str | Sequence[str] | Plan,
    *,
    videos: Sequence[str] = (),
    fps: float | None = DEFAULT_FPS,
    load: Load | None = None,
    p99_ms: float | None = None,
    scope: Scope = "stream",
    stop: Stop | None = None,
    settings: Mapping[str, Any] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    seed: int = 0,
    **named: Unpack[NamedInputs],
) -> Case:
    """Plan and workload from names and numbers.

    Args:
        models: paths or 'builtin:NAME', one plan file (.yaml), or a plan.
        videos: video files or stream addresses; none means synthetic frames.
        fps: frames per second of each source: the load and the target; None with no `load` means back to back.
        load: how requests arrive, instead of `fps` frames per second.
        p99_ms: the frame budget in ms; the frame period by default.
        scope: 'model', 'pipeline' or 'stream': the model alone, with preparation, or from the video on.
        stop: when a run ends; after 10 s by default.
        settings: setting name -> value, as `framepace settings` lists them.
        shapes: input name -> shape with the batch, for models whose inputs are not fully described.
        seed: of the load and of random inputs.
        named: `inputs`, `images`, `previous`, `states` and `window`: what goes into which input (see `NamedInputs`).

    Returns:
        The case that every verb takes instead of models and options.

    Raises:
        ModelError: a model cannot be read.
        UsageError: no model is named, a setting is unknown, or a value is wrong.
        PlanError: the plan file is malformed.
    """
    fps = _number_or_none(fps, "fps", LOWEST_RATE, HIGHEST_RATE)
    p99_ms = _number_or_none(p99_ms, "p99_ms", SHORTEST_MS, LONGEST_MS)
    seed = values.whole_number(seed, "seed", least=0, most=LARGEST_SEED)
    videos = [values.location(video, "video") for video in values.several(videos, "videos")]
    settings = values.mapping(settings or {}, "settings")
    shapes = values.mapping(shapes or {}, "shapes")
    plan = models
    if not isinstance(plan, Plan):
        plan = _for_live(_make_plan(plan, load or _load_at(fps)), plan, videos)
    plan = with_inputs(_with_shapes(plan, shapes), **named)
    target = replace(plan.target, fps=fps or plan.target.fps, p99_ms=p99_ms or plan.target.p99_ms)
    workload = Workload(
        load=load or _load_at(fps),
        scope=scope,
        input=Input(videos=tuple(videos)),
        stop=stop or DEFAULT_STOP,
        seed=seed,
    )
    return checked(apply(Case(plan=replace(plan, target=target), workload=workload), settings))


def _number_or_none(value: float | None, name: str, least: float, most: float) -> float | None:
    """A number in its range; None stays None."""
    if value is None:
        return None
    return values.number(value, name, least=least, most=most)


def case_of(verb: str, models: Models, **options: Unpack[CaseOptions]) -> Case:
    """The case that a verb was called with: `models` itself when it is one, else made from `models` and `options`.

    Raises UsageError for an option that does not exist, or for options beside a complete case.
    """
    for name in options:
        if name not in CaseOptions.__optional_keys__:
            raise unknown(f"{verb}() option", name, CaseOptions.__optional_keys__)
    if not isinstance(models, Case):
        return make_case(models, **options)
    if options:
        raise UsageError(
            f"{verb}() takes no options with a complete case",
            got=", ".join(options),
            expected="a case without options",
            fix="pass these options to make_case",
        )
    return checked(models)


def only_model(case: Case) -> ModelPlan:
    """The model of a case that has one. Raises UsageError where there are several."""
    models = case.plan.models
    if len(models) != 1:
        names = ", ".join(model.name for model in models)
        raise UsageError("one model is checked at a time", got=names, expected="one model", fix="name one of them")
    return models[0]


def _load_at(fps: float | None) -> Load:
    if fps:
        return Paced(fps=fps)
    return Closed()


def _make_plan(models: str | Sequence[str], load: Load) -> Plan:
    locations = values.several(models, "the model")
    if not locations:
        raise UsageError(
            "no model was named", got="nothing", expected=_MODEL, fix="name one, for example builtin:detector"
        )
    locations = [values.location(location, "the model") for location in locations]
    if len(locations) == 1 and locations[0].endswith(_PLAN_ENDINGS):
        return load_plan(Path(locations[0]))
    names = _unique_names(locations)
    plans = [
        ModelPlan(name=name, model=location, backend=backend_for(location))
        for name, location in zip(names, locations, strict=True)
    ]
    return Plan(models=tuple(plans), engine=_engine(plans, load), target=Target())


def _for_live(plan: Plan, models: str | Sequence[str], videos: Sequence[str]) -> Plan:
    """The plan with drop=oldest for live sources alone; a plan from a file says itself what is dropped."""
    live = bool(videos) and all("://" in video and not video.startswith("file://") for video in videos)
    locations = values.several(models, "the model")
    if not live or str(locations[0]).endswith(_PLAN_ENDINGS):
        return plan
    return replace(plan, source=replace(plan.source, drop="oldest"))


def _engine(models: Sequence[ModelPlan], load: Load) -> EnginePlan:
    """How models run that were named: those of servers with as many requests in flight as the load asks for."""
    if any(is_address(model.model) for model in models):
        return EnginePlan(workers=_in_flight(load))
    return EnginePlan()


def _in_flight(load: Load) -> int:
    """Requests that a load may have in flight; an open load does not wait for answers."""
    if isinstance(load, Closed):
        return load.concurrency or 1
    return 1 if isinstance(load, Delay) else _OPEN_IN_FLIGHT


def _unique_names(locations: Sequence[str]) -> list[str]:
    """Short names: the file's stem or the built-in's name, numbered when they clash."""
    names = []
    # A name goes into files and tables: without the secret of an address, which can be no model anyway.
    stems = [stem(shown(location))[: values.LONGEST_NAME - _ROOM_FOR_NUMBER] or "model" for location in locations]
    for index, name in enumerate(stems):
        if stems.count(name) > 1:
            name = f"{name}-{stems[: index + 1].count(name)}"
        names.append(name)
    return names


def _with_shapes(plan: Plan, shapes: Mapping[str, tuple[int, ...]]) -> Plan:
    """The plan with the shapes of inputs by name. Raises UsageError for a name that no model has."""
    if not shapes:
        return plan
    inputs = [{tensor.name for tensor in inspect(model.model).inputs} for model in plan.models]
    for name in shapes:
        if not any(name in names for names in inputs):
            raise unknown("input", values.shown(name), set().union(*inputs))
    models = []
    for model, names in zip(plan.models, inputs, strict=True):
        own_shapes = {name: tuple(shape) for name, shape in shapes.items() if name in names}
        models.append(replace(model, shapes={**model.shapes, **own_shapes}))
    return replace(plan, models=tuple(models))


def device_setting(backend: str, device: str) -> str:
    """The name of the setting that `--device` stands for on a backend: 'device', or an option of the backend.

    Args:
        backend: name of the backend.
        device: what was typed, such as 'cuda:1' or 't4'.

    Returns:
        A setting as `make_case` takes it.

    Raises:
        UsageError: there is no such backend, or its library is not installed.
    """
    return get_backend(backend).device_setting(device)
