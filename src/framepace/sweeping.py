"""`sweep`: one measurement over a grid of settings; cells are saved as they come, an interrupted sweep resumes."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from framepace.analyze.cells import answers, reasoned, unlike
from framepace.analyze.settling import settling
from framepace.analyze.summary import summarize
from framepace.clock.system import Clock
from framepace.cluster import Cluster, ClusterError, PlaceLost
from framepace.errors import FramepaceError, StoreError, one_line
from framepace.facts.address import shown, without_secrets
from framepace.facts.device import SIMULATED
from framepace.facts.plan import ModelPlan
from framepace.facts.settings import Case, apply
from framepace.facts.summary import Summary
from framepace.facts.sweep import Cell, Settling, Sweep
from framepace.facts.trace import Trace
from framepace.facts.workload import Closed, Delay, Stop, Warmup, Workload
from framepace.interrupts import listening
from framepace.lab.crew import Crew, Done, Task, do, sizes
from framepace.lab.elsewhere import elsewhere
from framepace.lab.lab import FRESH_PROCESS, HERE, Lab
from framepace.lab.station import Kept
from framepace.measure.session import clock_for
from framepace.models.spec import stem
from framepace.progress import Tell, silent, within
from framepace.store import OutputFolder, is_trace, load_trace, write_atomic
from framepace.values import check_cells

_BACK_TO_BACK = 200  # requests, as many as people count by hand; enough for a clock to come up and a limit to act


def cells(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Every combination of the grid's values, the last setting varying fastest."""
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def sweep(
    case: Case,
    grid: Mapping[str, Sequence[Any]],
    *,
    folder: Path | None = None,
    overwrite: bool = False,
    tell: Tell | None = None,
    clock: Clock | None = None,
    cluster: Cluster | None = None,
) -> Sweep:
    """Measure `case` with every combination of `grid` (setting name -> values).

    A cell that fails is a row with its error, and the sweep continues. Under a load with a gap after each inference
    every cell is first measured back to back, which also warms what the gaps let cool down. With `folder`, cells
    measured before under the same case are read instead of measured again; with `overwrite`, what is there is removed
    first. Ctrl-C keeps the cells that are complete. With `cluster`, cells are measured on all of its places at once,
    each on one of them; what was measured on unlike machines is not compared. Where all are lost, cells are missing.

    Raises UsageError for an unknown setting or a value it cannot have, and StoreError for a folder that is another
    run's, cannot be written or holds another case, before anything is measured.
    """
    check_cells(grid)
    planned = [(settings, case_of_cell(case, settings)) for settings in cells(grid)]
    progress = _Progress(grid, folder)
    with _owned(folder, overwrite, case):
        whole = _measure_cells(progress, planned, clock or clock_for(case.plan), tell or silent, cluster)
    return progress.sweep(not whole)


def _owned(folder: Path | None, overwrite: bool, case: Case) -> AbstractContextManager[object]:
    if folder is None:
        return nullcontext()
    return OutputFolder(folder, "sweep", overwrite, case)


def _measure_cells(
    progress: _Progress,
    planned: Sequence[tuple[dict[str, Any], Case]],
    clock: Clock,
    tell: Tell,
    cluster: Cluster | None,
) -> bool:
    """Measure or read all cells, into `progress`; whether nothing ended it before."""
    try:
        if cluster is None:
            _measure_here(progress, planned, clock, tell)
        else:
            _measure_elsewhere(progress, planned, clock, tell, cluster)
    except KeyboardInterrupt:
        return False
    except ClusterError as error:
        if not progress.measured:
            raise
        progress.notes.append(f"{len(planned) - progress.measured} cells were not measured: {one_line(error)}")
        return False
    return True


def _measure_here(
    progress: _Progress, planned: Sequence[tuple[dict[str, Any], Case]], clock: Clock, tell: Tell
) -> None:
    with Lab(folder=progress.folder, clock=clock, engines=1, keep_videos=False) as lab:
        for number, (settings, case) in enumerate(planned):
            cell = _cell(lab, settings, case, within(tell, "", number / len(planned)), progress.notes)
            progress.add(number, cell, lab.unsaved)


def _measure_elsewhere(
    progress: _Progress, planned: Sequence[tuple[dict[str, Any], Case]], clock: Clock, tell: Tell, cluster: Cluster
) -> None:
    """The same on the places of a cluster."""
    tasks = [_task(settings, case, progress.notes) for settings, case in planned]
    with listening(), _crew(cluster, progress.folder, clock, [case for _, case in planned]) as crew:
        for count, done in enumerate(do(crew, tasks), 1):
            progress.add(done.number, _done_cell(done, planned[done.number][0]), crew.unsaved)
            tell(f"{count} of {len(tasks)} cells, on {len(crew.labs)} places", count / len(tasks))
        progress.notes += crew.lost


def _crew(cluster: Cluster, folder: Path | None, clock: Clock, cases: Sequence[Case]) -> Crew[Cell]:
    kept = Kept(engines=1, workers=False, videos=False, virtual=clock.virtual)
    placed = elsewhere(cluster, kept, sizes(cases))
    return Crew(placed, [Lab(folder=folder, clock=clock).at(there) for there in placed])


def _task(settings: dict[str, Any], case: Case, notes: list[str]) -> Task[Cell]:
    """A cell as a task for a lab."""
    return Task(case.plan, lambda lab: _cell(lab, settings, case, silent, notes))


def _done_cell(done: Done[Cell], settings: Mapping[str, Any]) -> Cell:
    """The cell, or why nobody could measure it."""
    return done.answer or Cell(settings=without_secrets(dict(settings)), error=str(done.error))


class _Progress:
    """The cells of a sweep as they come in, saved in its folder after each."""

    def __init__(self, grid: Mapping[str, Sequence[Any]], folder: Path | None) -> None:
        self._grid = without_secrets({name: tuple(str(value) for value in values) for name, values in grid.items()})
        self.folder = folder
        self.notes: list[str] = []
        self._cells: dict[int, Cell] = {}

    @property
    def measured(self) -> int:
        """How many cells there are."""
        return len(self._cells)

    def add(self, number: int, cell: Cell, unsaved: str) -> None:
        """Add a cell by its number in the grid, and why traces are not saved any more, if so."""
        self._cells[number] = cell
        self._save()
        if unsaved:
            self.stop_saving(unsaved)

    def _save(self) -> None:
        if self.folder is None:
            return
        unfinished = Sweep(grid=self._grid, cells=self._in_order())
        try:
            write_atomic(self.folder / "sweep.json", msgspec.json.encode(unfinished))
        except StoreError as error:
            self.stop_saving(f"the table was not saved: {error.what} ({error.got})")

    def stop_saving(self, why: str) -> None:
        """Keep later cells in memory only."""
        if self.folder is not None:
            self.notes.append(why)
        self.folder = None

    def sweep(self, interrupted: bool) -> Sweep:
        """The sweep with the cells so far."""
        done = self._in_order()
        return Sweep(
            grid=self._grid,
            cells=reasoned(done),
            interrupted=interrupted,
            notes=(*self.notes, *unlike(done), *_simulated(done)),
            answers=tuple(answers(done, self._grid)),
        )

    def _in_order(self) -> tuple[Cell, ...]:
        """The cells so far, in the order of the grid."""
        return tuple(self._cells[number] for number in sorted(self._cells))


def _simulated(cells: Sequence[Cell]) -> list[str]:
    """The word that the numbers are simulated, where any of them are."""
    summaries = (cell.summary for cell in cells if cell.summary is not None)
    return [SIMULATED] if any(SIMULATED in summary.notes for summary in summaries) else []


def case_of_cell(case: Case, settings: Mapping[str, Any]) -> Case:
    """The case with the settings of a cell; a model that they replace is called after what replaces it."""
    changed = apply(case, settings)
    before = case.plan.models
    models = tuple(_renamed(*pair) for pair in zip(before, changed.plan.models, strict=True))
    if len({model.name for model in models}) < len(models):
        return changed
    return replace(changed, plan=replace(changed.plan, models=models))


def _renamed(before: ModelPlan, after: ModelPlan) -> ModelPlan:
    """The model `after` a change of settings: named after its file, where it was so before."""
    if before.model == after.model or before.name != stem(shown(before.model)):
        return after
    return replace(after, name=stem(shown(after.model)))


def _cell(lab: Lab, settings: dict[str, Any], case: Case, tell: Tell, notes: list[str]) -> Cell:
    """Measure or read one cell; what there is to say about its files goes to `notes`."""
    public = without_secrets(settings)
    title = ", ".join(f"{setting}={value}" for setting, value in public.items())
    tell(title, None)
    try:
        return _measured_cell(lab, settings, case, within(tell, f"{title}: ", None), notes)
    except PlaceLost:
        raise
    except FramepaceError as error:
        lab.clear()  # a device that failed may hold what the cell took: the next one starts from nothing
        return Cell(settings=public, error=_for_axes(str(error), settings))


def _for_axes(text: str, settings: Mapping[str, Any]) -> str:
    """An error whose advice names options: a setting that varies is an axis, which overrides `--set`."""
    for name in settings:
        text = text.replace(f"--set {name}=", f"--vary {name}=")
    return text


def _measured_cell(lab: Lab, settings: dict[str, Any], case: Case, tell: Tell, notes: list[str]) -> Cell:
    """The cell, with the levels that it goes through where its load has gaps."""
    case = replace(case, workload=without_warmup(case.workload))
    trace, gapless = _traces(lab, settings, case, tell, notes)
    summary = summarize(trace)
    path = lab.path(_name(case))
    return Cell(
        settings=without_secrets(settings),
        trace=None if path is None else str(path),
        summary=summary,
        settling=_settling(summary, gapless),
        site=trace.meta.site,
    )


def without_warmup(workload: Workload) -> Workload:
    """The workload of a cell: with gaps between inferences they count from the first, as the run before was warm."""
    if not _has_gaps(workload):
        return workload
    return replace(workload, warmup=Warmup(seconds_max=0.0))


def _has_gaps(workload: Workload) -> bool:
    return isinstance(workload.load, Delay) and workload.load.delay_ms > 0


def _settling(summary: Summary, gapless: Trace | None) -> Settling | None:
    if gapless is None:
        return None
    return settling(summary.frames.tiers, summarize(gapless).frames.tiers)


def _traces(lab: Lab, settings: dict[str, Any], case: Case, tell: Tell, notes: list[str]) -> tuple[Trace, Trace | None]:
    """The trace of a cell, and where its load has gaps the one back to back before it; those saved are read."""
    title = ", ".join(f"{setting}={value}" for setting, value in without_secrets(settings).items())
    trace = _saved(lab, case, title, notes)
    if not _has_gaps(case.workload):
        return trace or _measured(lab, settings, case, tell), None
    closed = _back_to_back(case)
    gapless = _saved(lab, closed, title, notes)
    if trace is None or gapless is None:  # both: the one warms the device for the other
        gapless = _measured(lab, settings, closed, tell)
        trace = _measured(lab, settings, case, tell)
    return trace, gapless


def _back_to_back(case: Case) -> Case:
    """The case without gaps, long enough to settle."""
    stop = Stop(count=_BACK_TO_BACK, seconds=case.workload.stop.seconds)
    return replace(case, workload=replace(case.workload, load=Closed(), warmup=Warmup(), stop=stop))


def _measured(lab: Lab, settings: dict[str, Any], case: Case, tell: Tell) -> Trace:
    # Strategies are compared by start-up and memory too, so each of their cells has its own process.
    where = FRESH_PROCESS if "strategy" in settings else HERE
    return lab.run(case, where=where, name=_name(case), tell=tell)


def _saved(lab: Lab, case: Case, title: str, notes: list[str]) -> Trace | None:
    """The trace of `case` in the lab's folder, if it ended as planned; one that is damaged is noted."""
    path = lab.path(_name(case))
    if path is None or not is_trace(path):
        return None
    try:
        trace = load_trace(path)
    except StoreError as error:
        notes.append(f"{title} was measured again: {error.what} ({error.got})")
        return None
    return trace if trace.meta.whole else None


def _name(case: Case) -> str:
    """Names a cell by all that is measured in it, so that a changed case is never mistaken for an old one."""
    content = json.dumps(msgspec.to_builtins(case), sort_keys=True)
    return f"cell-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
