"""What a log suggests, and the experiment that would decide. Nothing of it is proven: a log shows what coincides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from framepace.analyze.programcauses import program_causes
from framepace.analyze.tiers import settled
from framepace.facts.late import WAITING, Growth, LateFrames
from framepace.facts.log import Beside, Suspected
from framepace.facts.program import Program
from framepace.facts.summary import Summary, Tier
from framepace.units import NS_PER_MS, NS_PER_S, format_ms, ordinal

_CLOCK_MOVED = 0.03
_LEVEL_MOVED = 0.05
_GAP = 0.1  # of the latency, from which there is a gap between frames
_FELT = 0.2  # of the mean latency, that late frames take more
_MAIN = 0.4  # of what late frames take more, for a stage to be suspected
_ONE_CAMERA = 0.8  # of the late frames
_FULL = 0.95  # of the time in which a frame is at work
_OFTEN = 0.5  # of the late frames that coincide with something
_FEWEST_COINCIDE = 2
_STAGE_TITLES = {
    "decode": "some pictures take far longer to decode",
    "prepare": "the preparation of some frames takes far longer",
    "finish": "what follows the model takes far longer in some frames",
}
_STAGE_HOOKS = {
    "decode": "",
    "prepare": " --set prepare-hook=MODULE:FUNCTION",
    "finish": " --set finish=MODULE:FUNCTION",
}


class Grounds(NamedTuple):
    """What suspicions about a log rest on."""

    summary: Summary
    late: LateFrames | None
    beside: Sequence[Beside]
    batches: bool
    """Whether frames were run in batches of several sizes."""
    program: Program | None = None
    """Where the trace is that of a program whose calls were seen."""


def suspicions(log: Grounds) -> tuple[Suspected, ...]:
    """The causes that the log suggests, with the experiment for each; one at least."""
    rules: tuple[Callable[[Grounds], Iterable[Suspected]], ...] = (
        _parts,
        _level_rose,
        _level_fell,
        _lost,
        _queue,
        _stage_grew,
        _inference_grew,
        _events,
        _rhythm,
        _one_camera,
        _batches,
        _gauges,
        _other_number,
    )
    if log.late is not None and log.late.more < _FELT * log.summary.frames.mean:  # the slowest of alike ones
        log = log._replace(late=None)
    suspected = [one for rule in rules for one in rule(log)]
    return tuple(suspected or _nothing(log))


def _parts(log: Grounds) -> Iterable[Suspected]:
    """What the stages of a program consist of says more than their times alone."""
    if log.program is None:
        return ()
    return program_causes(log.program, log.summary)


def _level_rose(log: Grounds) -> Iterator[Suspected]:
    """The last level is above the first one: clocks that fall, or a device that gets hot."""
    tiers = log.summary.frames.tiers
    if len(tiers) < 2 or tiers[-1].level_end < (1 + _LEVEL_MOVED) * tiers[0].level:
        return
    gap = tiers[-1].beside.get("gap", 0.0)
    levels = f"{format_ms(tiers[0].level)} until request {tiers[0].last:,}, {format_ms(tiers[-1].level_end)} at the end"
    if gap < _GAP * tiers[0].level:
        yield _held_down(f"{levels}, back to back{_clock_words(tiers)}")
    else:
        yield _after_gaps(f"{levels}, gaps of {format_ms(gap)}{_clock_words(tiers)}", gap, _clock_moved(tiers))


def _held_down(because: str) -> Suspected:
    return Suspected(
        code="FP004",
        title="power or heat holds the device's clocks down",
        because=because,
        command=_explain("--load closed:1"),
        decides="without the power limit, or at half the duty, kernels are as fast as at first",
    )


def _after_gaps(because: str, gap: float, clock_moved: bool | None) -> Suspected:
    """The clock, unless it is logged and stayed."""
    command = _explain(f"--load delay:{gap / NS_PER_MS:.3g}")
    if clock_moved is False:
        return Suspected(
            code="FP002",
            title="the host sleeps between frames and wakes slowly",
            because=because,
            command=command,
            decides="a core kept awake, or a heartbeat (FP003), keeps the first level",
        )
    return Suspected(
        code="FP001",
        title="the device's clocks fall between frames",
        because=because,
        command=command,
        decides="a heartbeat in the gaps, or locked clocks, keep the first level",
    )


def _clock_moved(tiers: Sequence[Tier]) -> bool | None:
    """Whether the clock of the last level is another than that of the first; None where none is logged."""
    clocks = [_clock(tier) for tier in (tiers[0], tiers[-1])]
    if not all(clocks):
        return None
    return abs(clocks[1] - clocks[0]) > _CLOCK_MOVED * max(clocks)


def _clock(tier: Tier) -> float:
    return tier.beside.get("sm_clock_mhz", tier.beside.get("cpu_mhz", 0.0))


def _clock_words(tiers: Sequence[Tier]) -> str:
    if _clock_moved(tiers) is None:
        return ", no clock is logged"
    return f", clock {_clock(tiers[0]):,.0f} and then {_clock(tiers[-1]):,.0f} MHz"


def _level_fell(log: Grounds) -> Iterator[Suspected]:
    tiers = log.summary.frames.tiers
    if len(tiers) < 2 or tiers[0].level < (1 + _LEVEL_MOVED) * tiers[-1].level_end:
        return
    first = settled(tiers) or tiers[-1].first
    because = (
        f"{format_ms(tiers[0].level)} at first, {format_ms(tiers[-1].level_end)} from request {first:,}"
        f"{_clock_words(tiers)}"
    )
    yield Suspected(
        code="",
        title="the first requests are the warm-up",
        because=because,
        command="framepace bench MODEL.onnx" + _rate(log.summary),
        decides="framepace warms up until the level stays: its numbers are those of the last level",
    )


def _lost(log: Grounds) -> Iterator[Suspected]:
    outcomes = log.summary.frames.outcomes
    lost = {name: count for name, count in outcomes.items() if name != "ok" and count}
    if not lost:
        return
    counts = ", ".join(f"{count:,} {name}" for name, count in lost.items())
    yield Suspected(
        code="",
        title="more frames come than can be run",
        because=f"{counts} of {sum(outcomes.values()):,}",
        command="framepace capacity MODEL.onnx" + (_rate(log.summary) or " --fps 30"),
        decides="how many cameras hold, and what is in the way",
    )


def _queue(log: Grounds) -> Iterator[Suspected]:
    """Late frames wait for others."""
    if log.late is None or not log.late.stages or log.late.stages[0].stage not in WAITING:
        return
    growth = log.late.stages[0]
    yield Suspected(
        code="FP018",
        title="the load makes its own queue",
        because=f"late frames take {format_ms(growth.more)} more in {growth.stage}",
        command="framepace capacity MODEL.onnx" + (_rate(log.summary) or " --fps 30"),
        decides="the rate up to which no queue grows; more workers or batches are tried by `framepace tune`",
    )


def _stage_grew(log: Grounds) -> Iterator[Suspected]:
    for growth in _working(log):
        if growth.stage in _STAGE_TITLES and growth.share >= _MAIN:
            yield Suspected(
                code="FP017",
                title=_STAGE_TITLES[growth.stage],
                because=_in_late_frames(growth),
                command=_explain("--video FILE" + _rate(log.summary) + _STAGE_HOOKS[growth.stage]),
                decides="the slowest of the same frames without that stage; your own code runs as a hook",
            )


def _inference_grew(log: Grounds) -> Iterator[Suspected]:
    """The inference itself is longer in late frames: others on the cores or on the device."""
    for growth in _working(log):
        if growth.stage == "infer" and growth.share >= _MAIN:
            yield Suspected(
                code="FP012",
                title="threads wait for a core",
                because=_in_late_frames(growth),
                command=_explain(_rate(log.summary).strip() or "--load closed:1"),
                decides="whether preemptions, neighbours, clocks or longer kernels go with slow inferences",
            )


def _events(log: Grounds) -> Iterator[Suspected]:
    if log.late is None:
        return
    for event in ("gc", "page faults"):
        count = log.late.coincides.get(event, 0)
        if count >= max(_FEWEST_COINCIDE, _OFTEN * log.late.count):
            yield Suspected(
                code="FP015",
                title="one-off stalls",
                because=f"{count:,} of {log.late.count:,} late frames coincide with {event}",
                command=_explain(_rate(log.summary).strip() + _STAGE_HOOKS["finish"]),
                decides="the slowest frames without collections, and with locked memory",
            )


def _rhythm(log: Grounds) -> Iterator[Suspected]:
    if log.late is None or log.late.pattern != "every nth frame":
        return
    period = log.late.every * NS_PER_S / max(log.summary.throughput, 1e-3)
    yield Suspected(
        code="FP017",
        title="something happens every few frames",
        because=f"every {ordinal(log.late.every)} frame is late, once per {format_ms(period)}",
        command=_explain("--video FILE" + _rate(log.summary)),
        decides="key frames, if it stays with decoding alone; your log, tracker or writer, if it needs the hook",
    )


def _one_camera(log: Grounds) -> Iterator[Suspected]:
    if log.late is None or not log.late.sources:
        return
    name, count = max(log.late.sources.items(), key=lambda pair: pair[1])
    if count >= _ONE_CAMERA * log.late.count:
        yield Suspected(
            code="FP021",
            title="one camera is late",
            because=f"{count:,} of {log.late.count:,} late frames are of {name}",
            command=_explain("--video THAT_CAMERA" + _rate(log.summary)),
            decides="whether its pictures, or the way they are read, take longer",
        )


def _batches(log: Grounds) -> Iterator[Suspected]:
    if log.batches:
        yield Suspected(
            code="FP019",
            title="batches of several sizes",
            because="the log has batches of several sizes",
            command="framepace sweep MODEL.onnx --scope model --vary batch=1,2,4,8",
            decides="what an image costs in each batch, and from which size on a larger one brings nothing",
        )


def _gauges(log: Grounds) -> Iterator[Suspected]:
    """Heat or clocks go with the latency, where the levels do not say so already."""
    if any(_level_rose(log)):
        return
    for one in log.beside:
        if one.role == "temperature" and one.correlation.value > 0:
            yield _held_down(_correlation_words(one))
        elif one.role in ("sm_clock", "cpu_clock") and one.correlation.value < 0:
            yield _after_gaps(_correlation_words(one), _gap(log.summary), True)


def _correlation_words(one: Beside) -> str:
    low, high = one.correlation.interval
    return f"rank correlation with {one.column!r} {one.correlation.value:.2f} [{low:.2f}, {high:.2f}]"


def _other_number(log: Grounds) -> Iterator[Suspected]:
    """A number that goes with the latency and is no gauge: the work depends on what is in the picture."""
    for one in [number for number in log.beside if number.role == "beside"][:1]:
        yield Suspected(
            code="",
            title=f"the latency goes with {one.column!r}",
            because=_correlation_words(one),
            command=_explain("--video FILE" + _rate(log.summary)),
            decides="whether the time of a stage depends on the picture: the same pictures again give the same times",
        )


def _nothing(log: Grounds) -> Iterator[Suspected]:
    yield Suspected(
        code="",
        title="nothing stands out",
        because="one level, and no late frames that differ from the others in what was recorded",
        command=_further(log),
        decides="where the time goes, how far it is from the floor, and which settings bring it down",
    )


def _further(log: Grounds) -> str:
    """A program's settings are tried in the program itself."""
    if log.program is not None:
        return "framepace attach --explain -- python app.py"
    return _explain(_rate(log.summary).strip() or "--load closed:1")


def _in_late_frames(growth: Growth) -> str:
    return f"{growth.stage} takes {format_ms(growth.late)} in late frames, {format_ms(growth.other)} in others"


def _explain(options: str) -> str:
    return " ".join(f"framepace explain MODEL.onnx {options}".split())


def _working(log: Grounds) -> tuple[Growth, ...]:
    """The stages that grew in late frames and are no waiting."""
    if log.late is None:
        return ()
    return log.late.working


def _gap(summary: Summary) -> float:
    """The longest gap between frames of all levels, ns."""
    return max((tier.beside.get("gap", 0.0) for tier in summary.frames.tiers), default=0.0)


def _rate(summary: Summary) -> str:
    """The rate of the log as an option, where it has one."""
    if not summary.throughput or _gap(summary) < _GAP * summary.frames.mean:
        return ""
    return f" --fps {summary.throughput:.3g}"
