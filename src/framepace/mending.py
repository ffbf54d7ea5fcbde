"""Where a lower precision goes wrong in a network, on the user's own frames, and a model that keeps what it breaks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace as replaced
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from framepace import values
from framepace.cases import CaseOptions, Models, case_of, only_model
from framepace.clock.system import Clock, SystemClock
from framepace.errors import FramepaceError, StoreError, UsageError
from framepace.facts.accuracy import Agreement, Gate, agreement_text, narrowed
from framepace.facts.address import without_secrets
from framepace.facts.mending import Hunt, Mended, Ranking
from framepace.facts.plan import ModelPlan
from framepace.facts.settings import Case
from framepace.interrupts import stopped_by
from framepace.models.convert.variant import load, variant
from framepace.numerics.calibrating import few_frames
from framepace.numerics.deadline import deadline_in
from framepace.numerics.gate import FRAMES, LARGEST_LEAST, agreement
from framepace.numerics.hunt import hunted
from framepace.numerics.inputs import looked_at, values_notes
from framepace.numerics.mender import Mender
from framepace.numerics.metrics import is_own
from framepace.numerics.ranking import Rank
from framepace.numerics.rounding import BF16, FP16
from framepace.numerics.switched import Network
from framepace.numerics.tallying import LEAST
from framepace.numerics.trials import Trials
from framepace.numerics.tried import Tried
from framepace.numerics.trying import trials_of
from framepace.pricing import prices
from framepace.progress import Tell, silent
from framepace.reading import page_in
from framepace.reporting.page.ranking import render_ranking
from framepace.store import check_replaceable, write_atomic

if TYPE_CHECKING:
    from typing_extensions import Unpack

_MOST_FRAMES = 100_000
_PAGE = "ranking.html"
TIME_LIMIT_S = 600.0
_SHORTEST_LIMIT_S = 0.001
_LESS_ROOM = (0.75, 0.5, 0.25)  # of what the gate allows, for the search
_KEEPING = "keeping the smallest set of nodes so far"
_GRACE_S = 60.0  # after SIGTERM, to write the model: an INT8 one is converted again
_PRODUCER = "framepace-mixed"  # what our mixed files say that they are by


def hunt(
    model: Models,
    precision: str = "fp16",
    *,
    frames: int = FRAMES,
    tell: Tell | None = None,
    **options: Unpack[CaseOptions],
) -> Hunt:
    """The first node that makes a NaN or an infinity in a precision, on which frame, and why.

    The precision is emulated node by node on the CPU, where ONNX Runtime itself would compute in FP32.

    Args:
        model: a path, 'builtin:NAME', a plan or a case of one model, an ONNX file in FP32.
        precision: 'fp16', 'bf16', or 'int8' with frames to calibrate on (the setting calibration).
        frames: of the videos in `options`, or of a moving pattern; at most 64 per source.
        tell: called with slow steps.
        options: see `CaseOptions`.

    Returns:
        The faults, the one to blame first; none where all tensors are finite.

    Raises:
        UsageError: more than one model, no ONNX file, or one that is in low precision already.
        ModelError: an output is NaN in FP32 already, or ONNX Runtime cannot run the model.
    """
    tell = tell or silent
    case = case_of("hunt", model, **options)
    trials = _trials(case, precision, frames, None, tell)
    return Hunt(
        **_subject(trials.network, case, trials.network.plan.fp32_nodes),
        frames=len(trials.inputs),
        nodes=len(trials.network.nodes),
        largest=trials.network.rounding.largest,
        faults=hunted(trials, tell),
    )


def rank(
    model: Models,
    precision: str = "fp16",
    *,
    frames: int = FRAMES,
    gate: Gate | None = None,
    out: str | Path | None = None,
    tell: Tell | None = None,
    **options: Unpack[CaseOptions],
) -> Ranking:
    """What each node of a network costs in a precision: the error of the outputs with it alone in it.

    Blocks of neighbours come first, then the nodes of blocks that cost something. What was tried is in the cache: the
    same call goes on after Ctrl-C, which returns what there is.

    Args:
        model: a path, 'builtin:NAME', a plan or a case of one model, an ONNX file in FP32.
        precision: 'fp16', 'bf16', or 'int8' with frames to calibrate on (the setting calibration).
        frames: of the videos in `options`, or of a moving pattern; the four that lose most are used.
        gate: what the outputs must keep; by default that of the precision.
        out: a folder that gets a page with figures.
        tell: called with slow steps.
        options: see `CaseOptions`.

    Returns:
        The nodes, the one that costs most first, and the blocks.

    Raises:
        KeyboardInterrupt: Ctrl-C before anything was tried. StoreError: `out` cannot be written. What `hunt` raises.
    """
    tell = tell or silent
    page = page_in(out, _PAGE)
    case = case_of("rank", model, **options)
    trials = _trials(case, precision, frames, gate, tell)
    ranking = Rank(trials, tell, range(len(trials.inputs)))
    try:
        ranking.run()
        ranking.read_ranges()
    except KeyboardInterrupt:
        if not ranking.errors:
            raise
    return _with_page(_ranking(ranking, case), page)


def _with_page(ranking: Ranking, page: Path | None) -> Ranking:
    if page is None:
        return ranking
    ranking = replace(ranking, page=str(page))
    write_atomic(page, render_ranking(without_secrets(ranking)).encode())
    return ranking


def _ranking(ranking: Rank, case: Case) -> Ranking:
    return Ranking(
        **_subject(ranking.trials.network, case),
        frames=len(ranking.frames),
        limit=ranking.limit,
        error=ranking.finite_error,
        blocks=ranking.block_facts(),
        nodes=ranking.node_errors(),
        complete=ranking.complete,
        tries=ranking.tries,
    )


def mend(
    model: Models,
    out: str | Path | None = None,
    precision: str = "fp16",
    *,
    frames: int = FRAMES,
    gate: Gate | None = None,
    metric: str | None = None,
    least: float = LEAST,
    price: bool = True,
    time_limit: float = TIME_LIMIT_S,
    tell: Tell | None = None,
    clock: Clock | None = None,
    **options: Unpack[CaseOptions],
) -> Mended:
    """The smallest set of nodes that must stay in FP32 so that the gate holds, and a model that keeps them.

    Found by emulation on every other frame (at most 8), verified on the others: a frame on which it does not hold joins
    the search. Where the device runs the precision, the library's own outputs are held against FP32 too, and where they
    break the gate the search goes on with less room. Ctrl-C and the time limit return the smallest set so far that
    holds it. What was tried is in the cache (but by a metric of your own): the same call goes on. Where not even half
    of the nodes are enough (any number of a small network's) the answer is no, with the error that they reach.

    Args:
        model: a path, 'builtin:NAME', a plan or a case of one model, an ONNX file in FP32.
        out: where the mixed model is written (not of BF16): ONNX, casts at the borders, inputs and outputs as before.
        precision: 'fp16', 'bf16', or 'int8' with frames to calibrate on (the setting calibration).
        frames: of the videos in `options`, or of a moving pattern; at most 64 per source.
        gate: what the outputs must keep; by default that of the precision.
        metric: what decides in place of the gate (see `accuracy`).
        least: that the metric must reach on average over the frames.
        price: whether FP32, the mixed and the lower precision are measured too, where the device runs them.
        time_limit: seconds for the search; the calibration of INT8 comes before, checks and prices come after.
        tell: called with slow steps.
        clock: of the time limit; by default the machine's.
        options: see `CaseOptions`.

    Returns:
        The nodes, how far the outputs agree without and with them, and on frames that the search has not seen. As a
        plan the same is the precision with the setting fp32-nodes.

    Raises:
        KeyboardInterrupt: Ctrl-C before anything was found. StoreError: `out` cannot be written. What `hunt` raises.
    """
    tell = tell or silent
    path = _target(out, precision)
    least = values.number(least, "least", least=0.0, most=LARGEST_LEAST)
    case = case_of("mend", model, **options)
    seconds = values.duration_s(time_limit, "time_limit", least=_SHORTEST_LIMIT_S)
    with stopped_by(_stop, _KEEPING, _GRACE_S):
        trials = replaced(_trials(case, precision, frames, gate, tell), metric=metric, least=least)
        if is_own(metric):  # it may be another function the next time
            trials = replaced(trials, tried=Tried())
        mender = Mender(trials, tell, deadline_in(seconds, clock or SystemClock()))
        mended = _with_alternative(_written(_searched(mender, trials.gate, case), path), mender.trials, tell)
        return _priced(mended, case, tell) if price else mended


def _stop() -> None:
    raise KeyboardInterrupt


def _searched(mender: Mender, gate: Gate, case: Case) -> Mended:
    """The nodes that the search keeps; with less and less room where the library breaks the gate.

    Sums and roundings of a library's kernels are not quite those that are emulated, and a gate leaves no margin.
    """
    mended = _in_room(mender, gate, 1.0, case)
    for room in _LESS_ROOM:
        if not _breaks_as_run(mended) or mender.trials.metric is not None or mended.out_of_time:
            break
        mender.tell("the library breaks the gate: again with less room", None)
        narrower = _in_room(mender, gate, room, case)
        if narrower.refused:
            return replace(mended, tries=narrower.tries, runs=narrower.runs)
        mended = narrower
    return mended


def _breaks_as_run(mended: Mended) -> bool:
    return mended.as_run is not None and not mended.as_run.passed


def _in_room(mender: Mender, gate: Gate, room: float, case: Case) -> Mended:
    """What a search with a share of the room that the gate leaves finds, and the library's own outputs with it."""
    stopped = False
    try:
        mender.run(narrowed(gate, room))
    except KeyboardInterrupt:
        stopped = True
    subject = _subject(mender.trials.network, case, tuple(node.name for node in mender.kept_nodes))
    mended = mender.mended(subject, gate)
    if stopped or mended.refused:
        return mended
    return _checked(mended, mender.trials, case, mender.tell)


def _checked(mended: Mended, trials: Trials, case: Case, tell: Tell) -> Mended:
    """The result with the library's own outputs; without them where Ctrl-C comes first."""
    try:
        return replace(mended, as_run=_as_run(mended.model, trials, case, tell))
    except KeyboardInterrupt:
        return _stopped(mended, "the library's own outputs were not compared")


def _stopped(mended: Mended, what: str) -> Mended:
    """The result with what Ctrl-C left out; nothing else is begun."""
    return replace(mended, notes=(*mended.notes, f"stopped: {what}"), complete=False)


def _as_run(model: ModelPlan, trials: Trials, case: Case, tell: Tell) -> Agreement | None:
    """How far the library's own outputs agree in the precision; None where its device does not run it."""
    try:
        return agreement(
            model, case.workload.input, trials.gate,
            frames=len(trials.inputs), seed=case.workload.seed, tell=tell, metric=trials.metric, least=trials.least,
        )  # fmt: skip
    except UsageError:
        return None


def _written(mended: Mended, path: Path | None) -> Mended:
    """The result with the mixed file, where one is asked for, and a set of nodes is known."""
    if path is None or mended.found_nothing:
        return mended
    plan = replace(mended.model, prepare=replace(mended.model.prepare, place="host"))
    mixed = load(variant(plan, plan.precision))
    mixed.producer_name = _PRODUCER
    write_atomic(path, mixed.SerializeToString())
    return replace(mended, path=str(path))


def _with_alternative(mended: Mended, trials: Trials, tell: Tell) -> Mended:
    """The result with whether BF16 would do without any node in FP32, where FP16 does not."""
    if not mended.kept or not mended.complete or trials.network.rounding is not FP16:
        return mended
    try:
        tell("all nodes in bf16", None)
        network = Network(trials.network.plan, BF16)
        agreement = replaced(trials, network=network).agreement(network.names, range(len(trials.inputs)))
    except KeyboardInterrupt:
        return _stopped(mended, "bf16 was not tried")
    note = f"bf16 does not pass the gate either, without nodes in FP32: {agreement_text(agreement)}"
    if agreement.passed:
        note = f"bf16 passes the gate without any node in FP32 (TensorRT 10, PyTorch): {agreement_text(agreement)}"
    return replace(mended, notes=(*mended.notes, note))


def _priced(mended: Mended, case: Case, tell: Tell) -> Mended:
    """The result with what the kept nodes cost, or the reason why that is not known."""
    if not mended.kept or not mended.complete:
        return mended
    try:
        return replace(mended, prices=prices(case, mended.model, mended.islands, tell))
    except KeyboardInterrupt:
        return _stopped(mended, "what the nodes in FP32 cost was not measured")
    except FramepaceError as error:
        note = f"what the nodes in FP32 cost was not measured: {error.what}"
        return replace(mended, notes=(*mended.notes, note))


def _trials(case: Case, precision: str, frames: int, gate: Gate | None, tell: Tell) -> Trials:
    """The network with switches, on frames of the case."""
    frames = int(values.number(frames, "frames", least=1, most=_MOST_FRAMES, whole=True))
    plan = only_model(case)
    return trials_of(plan, case.workload.input, precision, frames, case.workload.seed, gate=gate, tell=tell)


def _target(out: str | Path | None, precision: str) -> Path | None:
    """Where the mixed model goes."""
    if out is None:
        return None
    if precision == "bf16":
        fix = "leave the file out: --rank and --hunt take bf16"
        raise UsageError("BF16 cannot be written into a file", got=precision, expected="fp16 or int8", fix=fix)
    path = values.path(out, "out")
    if path.suffix != ".onnx":
        raise UsageError("the mixed model is an ONNX file", got=str(path), expected="a name that ends with .onnx")
    try:
        check_replaceable(path, _PRODUCER.encode())
    except StoreError as error:
        raise StoreError(error.what, got=str(path), fix="name a file that is not there yet") from error
    return path


def _subject(network: Network, case: Case, kept: tuple[str, ...] = ()) -> dict[str, Any]:
    """What every result says first: the model in the precision, the sources, and what is not looked at."""
    return {
        "model": replace(network.plan, precision=network.rounding.precision, fp32_nodes=kept),
        "notes": tuple(_notes(network, kept)),
        **looked_at(network.plan, case.workload.input.videos),
    }


def _notes(network: Network, kept: tuple[str, ...]) -> Iterator[str]:
    """What is not looked at, and what the ranges of INT8 rest on."""
    if not set(network.plan.fp32_nodes) <= set(kept):
        yield "every node is tried, also those that the plan keeps in FP32 (fp32-nodes)"
    if network.branches:
        nodes = "1 node with branches (If, Loop) stays as it is"
        if network.branches > 1:
            nodes = f"{network.branches} nodes with branches (If, Loop) stay as they are"
        yield f"{nodes}, with all that is inside"
    yield from values_notes(network.plan)
    yield from few_frames(replace(network.plan, precision=network.rounding.precision))
