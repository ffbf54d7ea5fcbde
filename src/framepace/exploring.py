"""Engines layer by layer: from a model, which is measured, or from a trace that has its layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from framepace import values
from framepace.analyze.bounds import inference_ns
from framepace.analyze.layers import Edge, beaten, edges, engine_layers, longest_path, matches, without_beaten
from framepace.backends.base import get_backend
from framepace.cases import CaseOptions, Models, case_of
from framepace.clock.system import Clock
from framepace.errors import FramepaceError, UsageError
from framepace.facts.address import without_secrets
from framepace.facts.bounds import Ceilings, ModelWork
from framepace.facts.layers import EngineLayer, EngineView, Exploration, are_whole
from framepace.facts.model import Layer, ModelSpec
from framepace.facts.plan import ModelPlan
from framepace.facts.settings import Case, apply
from framepace.facts.trace import Trace
from framepace.facts.workload import Stop
from framepace.lab.ceilings import known_ceilings, measure_ceilings
from framepace.measure.session import measure
from framepace.models.operations import model_work
from framepace.models.spec import inspect, resolve
from framepace.progress import Tell, silent
from framepace.recording.machine import probe
from framepace.reporting.page.document import REPORT_MARK
from framepace.reporting.page.layers import render_layers
from framepace.reporting.views.text import plural
from framepace.store import check_replaceable, is_trace, load_trace, write_atomic

if TYPE_CHECKING:
    from typing_extensions import Unpack

_COUNT = 20  # inferences of the run beside the layers, at most
_SECONDS = 5.0  # of that run, at most
_BEATEN = (
    "{} without a floor: faster than the peaks that were measured here allow; their kernels compute less than the file"
    " says (Winograd), or the machine was busier when its peaks were measured"
)
_MEASURE = "framepace bench MODEL --layers"


def layers(
    subject: Models | Trace,
    other: Models | Trace | None = None,
    *,
    versus: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    floors: bool = True,
    overwrite: bool = False,
    tell: Tell | None = None,
    clock: Clock | None = None,
    **options: Unpack[CaseOptions],
) -> Exploration:
    """An engine layer by layer, or two side by side: time, bytes, operations, precision and floor of each layer.

    Args:
        subject: a model, plan or case, which is measured; or a trace (or its folder) whose run measured layers.
        other: a second one; its layers are matched by operators of the file, name, output, or kind and shape.
        versus: settings that make the second engine of the first: {'precision': 'fp16'}.
        out: an HTML page with a table to sort, filter and search, and the graph; None writes none.
        floors: measure the machine's peaks where they are not known yet, for the least time of each layer.
        overwrite: replace `out` even if it is no page of framepace.
        tell: called with slow steps.
        clock: by default the machine's, or virtual time on a simulated device.
        options: see `CaseOptions`; they hold for both.

    Returns:
        The engines, and which layers of two correspond.

    Raises:
        UsageError: the library tells no layers, or an option is invalid.
        BackendError: the backend cannot load or run the model.
        ModelError: a model cannot be read.
        StoreError: a trace cannot be read, or the page cannot be written.
    """
    if out is not None and not overwrite:
        check_replaceable(values.path(out, "out"), REPORT_MARK)
    run = _Run(tell or silent, clock)
    traces = [run.trace(one, options) for one in (subject, other) if one is not None]
    if versus:
        traces.append(run.measured(apply(_case(traces[0]), versus)))
    exploration = explore(traces, floors=floors, tell=run.tell)
    if versus and other is None:
        exploration = _told_apart(exploration, versus)
    if out is not None:
        _write(exploration, traces[0], Path(out))
    return exploration


def _told_apart(exploration: Exploration, versus: Mapping[str, Any]) -> Exploration:
    """The exploration with what made the second engine of the first."""
    first, second = exploration.engines
    if first.model != second.model:  # two models of the first trace
        return exploration
    changes = tuple(f"{name}={value}" for name, value in versus.items())
    return replace(exploration, engines=(first, replace(second, changes=changes)))


def _case(trace: Trace) -> Case:
    return Case(plan=trace.meta.plan, workload=trace.meta.workload)


def _write(exploration: Exploration, trace: Trace, path: Path) -> None:
    page = render_layers(without_secrets(exploration), without_secrets(trace.meta.machine))
    write_atomic(path, page.encode())


@dataclass(frozen=True)
class _Run:
    """How traces with layers are come by."""

    tell: Tell
    clock: Clock | None

    def trace(self, subject: Models | Trace, options: CaseOptions) -> Trace:
        """A trace as it is, or from its folder; of anything else the trace of a short run."""
        match subject:
            case Trace():
                return subject
            case str() if is_trace(Path(subject)):
                return load_trace(Path(subject))
            case Case():
                return self.measured(subject)
        options = {"fps": None, "scope": "model", "stop": Stop(count=_COUNT, seconds=_SECONDS), **options}
        return self.measured(case_of("layers", subject, **options))

    def measured(self, case: Case) -> Trace:
        """A run of the case with its layers."""
        self.tell("measuring layers", None)
        return measure(case.plan, case.workload, layers=True, tell=self.tell, clock=self.clock)


def explore(traces: Sequence[Trace], *, floors: bool = True, tell: Tell = silent) -> Exploration:
    """The engines of one or two traces with layers; the first two where there are more models.

    Raises UsageError for a trace without layers.
    """
    parts = [part for trace in traces for part in _parts(trace)][:2]
    views = tuple(part.view(floors, tell) for part in parts)
    if len(views) == 1:
        return Exploration(engines=views)
    return Exploration(engines=views, matches=matches(parts[0].layers, parts[1].layers))


def _parts(trace: Trace) -> list[_Part]:
    """The models of a trace that have layers."""
    meta = trace.meta
    specs = zip(meta.plan.models, meta.models, strict=True)
    parts = [_Part(trace, model, spec, meta.layers[model.name]) for model, spec in specs if meta.layers.get(model.name)]
    if not parts:
        backends = ", ".join(sorted({model.backend for model in meta.plan.models}))
        fix = f"{_MEASURE}, on a backend that tells its layers: onnxruntime, torch, tensorrt or simulated"
        raise UsageError("the run has no layers", got=f"trace {meta.id}, backend {backends}", fix=fix)
    return parts


@dataclass(frozen=True)
class _Part:
    """One model of a trace with its layers."""

    trace: Trace
    model: ModelPlan
    spec: ModelSpec
    layers: Sequence[Layer]

    def view(self, floors: bool, tell: Tell) -> EngineView:
        """The engine with what the file and the machine's peaks say of its layers."""
        notes = list(self._notes())
        work = self._work(notes)
        layers = self._with_floors(work, floors, tell, notes)
        return self._engine(layers, edges(self.layers, work), notes)

    def _with_floors(
        self, work: ModelWork | None, floors: bool, tell: Tell, notes: list[str]
    ) -> tuple[EngineLayer, ...]:
        """The layers. A floor that is beaten has the peaks measured again, and is none if it still is."""
        layers = engine_layers(self.layers, work, self._ceilings(work, floors, tell, notes))
        if floors and beaten(layers):
            layers = engine_layers(self.layers, work, self._ceilings(work, floors, tell, notes, anew=True))
        if beaten(layers):
            notes.append(_BEATEN.format(plural(len(beaten(layers)), "layer")))
        return without_beaten(layers)

    def _engine(self, layers: tuple[EngineLayer, ...], connections: tuple[Edge, ...], notes: list[str]) -> EngineView:
        path: tuple[int, ...] = ()
        if are_whole(layers):
            path = longest_path([layer.time or 0.0 for layer in layers], connections)
        return EngineView(
            model=self.model.name,
            backend=self.model.backend,
            device=self._device(),
            precision=self.model.precision,
            batch=self.batch,
            layers=layers,
            edges=connections,
            path=path,
            inference=inference_ns(self.trace, self.model.name),
            libraries=self.trace.meta.machine.libraries,
            simulated=self.trace.meta.simulated,
            notes=tuple(notes),
        )

    def _notes(self) -> Iterator[str]:
        untimed = sum(layer.time is None for layer in self.layers)
        if untimed == len(self.layers):
            yield "the library told the layers, but not how long they take"
        elif untimed:
            yield f"{untimed} of {len(self.layers)} layers have no time of their own"
        if not any(layer.inputs or layer.nodes for layer in self.layers):
            yield "the library does not say what passes between the layers: there is no graph"

    def _device(self) -> str:
        if self.model.backend == "simulated":
            return str(self.model.options.get("device", "the usual device"))
        return get_backend(self.model.backend).device_of(self.model)

    @property
    def batch(self) -> int:
        """Items of the inference whose layers these are."""
        return max(1, self.model.batch.max)

    def _work(self, notes: list[str]) -> ModelWork | None:
        """What the model's file says of the work; None, with a note, where it cannot be read or is another one now."""
        if self.spec.format != "onnx":
            return None
        try:
            now = inspect(self.model.model)
            if now.sha256 != self.spec.sha256:
                raise FramepaceError("the model's file is another one now")
            resolved = resolve(now, self.model)
            shapes = {name: resolved.shape_of(name, self.batch) for name in resolved.shapes}
            return model_work(self.model.model, shapes, self.model.precision, self.model.name, self.batch)
        except FramepaceError as error:
            notes.append(f"operations only as far as the library says them: {error.what}")
            return None

    def _ceilings(
        self, work: ModelWork | None, floors: bool, tell: Tell, notes: list[str], *, anew: bool = False
    ) -> Ceilings | None:
        """The measured ceilings of the device; None, with a note, where they are not known and cannot be measured."""
        precisions = self._precisions(work)
        try:
            machine = self.trace.meta.machine
            ceilings = known_ceilings(self.model, precisions, machine)
            if (ceilings is not None and not anew) or not floors:
                return ceilings
            if not self.trace.meta.simulated and probe().fingerprint != machine.fingerprint:
                raise FramepaceError("the trace is of another machine, whose peaks were not measured here")
            tell(f"measuring the peaks of this machine in {' and '.join(sorted(precisions))}", None)
            return measure_ceilings(self.model, precisions, machine)
        except FramepaceError as error:
            notes.append(f"no floors: {error.what}")
            return None

    def _precisions(self, work: ModelWork | None) -> set[str]:
        """Precisions of arithmetic, of which the peaks are needed."""
        if work is None:
            return {self.model.precision}
        return {node.precision for node in work.nodes if node.flops} or {work.precision}
