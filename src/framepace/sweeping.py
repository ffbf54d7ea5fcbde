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

from framepace.analyze.batches import batch_scaling, batch_sentence, padding_sentence
from framepace.analyze.settling import gap_sentence, settling
from framepace.analyze.shares import share_sentence
from framepace.analyze.strategies import reasons
from framepace.analyze.summary import summarize
from framepace.analyze.sweeps import best_sentence
from framepace.clock.system import Clock
from framepace.errors import FramepaceError, StoreError
from framepace.facts.address import shown, without_secrets
from framepace.facts.device import SIMULATED
from framepace.facts.plan import ModelPlan
from framepace.facts.settings import Case, apply
from framepace.facts.settings import text as settings_text
from framepace.facts.summary import Summary
from framepace.facts.sweep import Cell, Settling, Sweep
from framepace.facts.trace import Trace
from framepace.facts.workload import Closed, Delay, Stop, Warmup, Workload
from framepace.lab.lab import FRESH_PROCESS, HERE, Lab
from framepace.measure.session import clock_for
from framepace.models.spec import stem
from framepace.progress import Tell, silent, within
from framepace.store import OutputFolder, is_trace, load_trace, write_atomic
from framepace.units import NS_PER_S
from framepace.values import check_cells

_ALL_SMS = (None, "none")
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
) -> Sweep:
    """Measure `case` with every combination of `grid` (setting name -> values).

    A cell that fails is a row with its error, and the sweep continues. Under a load with a gap after each inference
    every cell is first measured back to back, which also warms what the gaps let cool down. With `folder`, cells
    measured before under the same case are read instead of measured again; with `overwrite`, what is there is removed
    first. Ctrl-C keeps the cells that are complete.

    Raises UsageError for an unknown setting or a value it cannot have, and StoreError for a folder that is another
    run's, cannot be written or holds another case, before anything is measured.
    """
    check_cells(grid)
    planned = [(settings, case_of_cell(case, settings)) for settings in cells(grid)]
    progress = _Progress(grid, folder)
    interrupted = False
    with _owned(folder, overwrite, case):
        try:
            _measure_cells(progress, planned, clock or clock_for(case.plan), tell or silent)
        except KeyboardInterrupt:
            interrupted = True
    return progress.sweep(interrupted)


def _owned(folder: Path | None, overwrite: bool, case: Case) -> AbstractContextManager[object]:
    if folder is None:
        return nullcontext()
    return OutputFolder(folder, "sweep", overwrite, case)


def _measure_cells(
    progress: _Progress, planned: Sequence[tuple[dict[str, Any], Case]], clock: Clock, tell: Tell
) -> None:
    """Measure or read all cells, into `progress`."""
    with Lab(folder=progress.folder, clock=clock, engines=1, keep_videos=False) as lab:
        for number, (settings, case) in enumerate(planned):
            progress.add(_cell(lab, settings, case, within(tell, "", number / len(planned)), progress.notes))
            if lab.unsaved:
                progress.stop_saving(lab.unsaved)


class _Progress:
    """The cells of a sweep as they come in, saved in its folder after each."""

    def __init__(self, grid: Mapping[str, Sequence[Any]], folder: Path | None) -> None:
        self._grid = without_secrets({name: tuple(str(value) for value in values) for name, values in grid.items()})
        self.folder = folder
        self.notes: list[str] = []
        self._cells: list[Cell] = []

    def add(self, cell: Cell) -> None:
        """Append a cell."""
        self._cells.append(cell)
        if self.folder is None:
            return
        unfinished = Sweep(grid=self._grid, cells=tuple(self._cells))
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
        return Sweep(
            grid=self._grid,
            cells=reasoned(self._cells),
            interrupted=interrupted,
            notes=(*self.notes, *_simulated(self._cells)),
            answers=tuple(answers(self._cells, self._grid)),
        )


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


def answers(done: Sequence[Cell], grid: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """What the cells say together, in sentences: gaps, batches, parts of a device, and the best cell."""
    gaps = gap_sentence([cell.settling for cell in done if cell.settling is not None])
    if gaps:
        yield gaps
    yield from _batches(done)
    yield from _shares(done)
    best = best_sentence(done, grid)
    if best is not None and not gaps:  # the gaps decide how many frames come
        yield best


def _batches(done: Sequence[Cell]) -> Iterator[str]:
    """What batches bring, and which of them are better padded."""
    for others, alternatives in _by_other_settings(done, "batch"):
        per_image = dict(_per_image(alternatives))
        scaling = batch_scaling(per_image)
        if scaling is not None:
            sentence = batch_sentence(scaling, _sm_activity(alternatives, scaling.smallest), _kernels(alternatives))
            yield f"{others}: {sentence}" if others else sentence
            pays = padding_sentence(per_image, _medians(alternatives))
            if pays:
                yield f"{others}: {pays}" if others else pays


def _shares(done: Sequence[Cell]) -> Iterator[str]:
    """A sentence per limit of SMs, beside the cell without one."""
    for others, alternatives in _by_other_settings(done, "sms"):
        whole = next((summary for cell, summary in alternatives if cell.settings["sms"] in _ALL_SMS), None)
        for cell, summary in alternatives:
            if whole is not None and summary is not whole:
                sentence = share_sentence(f"sms={cell.settings['sms']}", summary, whole)
                yield f"{others}: {sentence}" if others else sentence


def _by_other_settings(done: Sequence[Cell], name: str) -> Iterator[tuple[str, list[tuple[Cell, Summary]]]]:
    """The measured cells that differ in the setting `name` only, with the text of the other settings."""
    groups: dict[str, list[tuple[Cell, Summary]]] = {}
    for cell in done:
        if cell.summary is not None and name in cell.settings:
            others = settings_text(_other_settings(cell, name))
            groups.setdefault(others, []).append((cell, cell.summary))
    yield from groups.items()


def _per_image(alternatives: Sequence[tuple[Cell, Summary]]) -> Iterator[tuple[int, float]]:
    """Batch and time per image (ns) of each cell; none under a load that says by itself when frames come."""
    for cell, summary in alternatives:
        if summary.throughput and summary.budget is None:
            yield int(cell.settings["batch"]), NS_PER_S / summary.throughput


def _medians(alternatives: Sequence[tuple[Cell, Summary]]) -> dict[int, float]:
    """The median of an inference (ns) by batch."""
    return {
        int(cell.settings["batch"]): stage.median
        for cell, summary in alternatives
        for stage in summary.frames.stages
        if stage.name == "infer"
    }


def _kernels(alternatives: Sequence[tuple[Cell, Summary]]) -> dict[int, float]:
    """Times of the kernels per image (ns) by batch, where the device reports them."""
    times = {int(cell.settings["batch"]): summary.frames.parts.get("compute", 0.0) for cell, summary in alternatives}
    return {batch: ns / batch for batch, ns in times.items() if ns}


def _sm_activity(alternatives: Sequence[tuple[Cell, Summary]], batch: int) -> float | None:
    """The share of the SMs that were busy in the cell of a batch, where a device reports it."""
    for cell, summary in alternatives:
        if int(cell.settings["batch"]) == batch and summary.devices:
            activity = summary.devices[0].medians.get("sm_activity")
            return None if activity is None else activity / 1000
    return None


def reasoned(done: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells; where only their strategy differs, each with the reason why it is faster or slower than the others."""
    return tuple(_with_reason(cell, done) for cell in done)


def _with_reason(cell: Cell, done: Sequence[Cell]) -> Cell:
    if cell.summary is None or "strategy" not in cell.settings:
        return cell
    others = _other_settings(cell, "strategy")
    alternatives = [c for c in done if "strategy" in c.settings and _other_settings(c, "strategy") == others]
    summaries = {str(c.settings["strategy"]): c.summary for c in alternatives if c.summary is not None}
    if len(summaries) < 2:
        return cell
    return replace(cell, why=reasons(summaries).get(str(cell.settings["strategy"])))


def _other_settings(cell: Cell, name: str) -> dict[str, Any]:
    return {setting: value for setting, value in cell.settings.items() if setting != name}


def _cell(lab: Lab, settings: dict[str, Any], case: Case, tell: Tell, notes: list[str]) -> Cell:
    """Measure or read one cell; what there is to say about its files goes to `notes`."""
    public = without_secrets(settings)
    title = ", ".join(f"{setting}={value}" for setting, value in public.items())
    tell(title, None)
    try:
        return _measured_cell(lab, settings, case, within(tell, f"{title}: ", None), notes)
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
