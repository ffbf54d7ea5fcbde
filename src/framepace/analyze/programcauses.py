"""What the stages of a program's frames consist of suggests as causes. Nothing of it is proven."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from framepace.facts.log import Suspected
from framepace.facts.program import Part, Program
from framepace.facts.summary import Summary
from framepace.units import NS_PER_MS, NS_PER_S, format_ms

WORKING = ("decode", "queue", "prepare", "infer", "finish")
_LARGE = 1 / 3  # of a frame, from which a stage beside the model is suspected
_QUITE_LARGE = 1 / 4  # the same where those stages together take
_TOGETHER = 0.35
_MOSTLY_QUEUE = 0.6  # one frame that waits for the one before is half of two
_WAITS = 0.1  # of a frame, from which waiting within it is suspected: nobody works meanwhile
_SOUGHT = 0.5  # seeks per frame
_SEEKING = 0.1  # of a frame
_COLLECTING = 0.05
_RELOADED = 0.5  # loads per frame
_ONE_BY_ONE = 4.0  # calls of a model per frame, from which they are suspected
_LOCK_WAIT_NS = 2 * NS_PER_MS
_TOO_SLOW = 0.97  # of the rate that is wanted
_IDLE = 0.15  # of the time between frames
_WAITING_CALLS = ("time.sleep", "cv2.waitKey", "cv2.pollKey")
_LOADING_CALLS = ("onnxruntime.InferenceSession",)
_SEEKING_CALLS = ("cv2.VideoCapture.set", "av.InputContainer.seek")
_LOCK = ", which waits for a lock"  # the end of the name of a line that does
_CPU = "CPUExecutionProvider"
_COLLECTION = "gc"
_OTHERS = (*_WAITING_CALLS, *_LOADING_CALLS, *_SEEKING_CALLS, _COLLECTION)  # that have rules of their own
_TITLES = {
    "decode": "decoding takes a large part of a frame",
    "prepare": "preparation takes a large part of a frame",
    "finish": "what follows the model takes a large part of a frame",
}
_Ranked = tuple[float, Suspected]


@dataclass(frozen=True)
class _Frame:
    """The mean frame of a program: its parts, what they add up to (ns), and the numbers of its trace."""

    program: Program
    summary: Summary

    @property
    def ns(self) -> float:
        """All stages of a frame."""
        return max(1.0, sum(part.ns for part in self.program.parts if part.stage in WORKING))

    def parts(self, *stages: str) -> tuple[Part, ...]:
        """The parts of some stages, the largest first."""
        return tuple(part for part in self.program.parts if part.stage in stages)

    def share(self, *parts: Part) -> float:
        """Of a frame."""
        return sum(part.ns for part in parts) / self.ns

    def words(self, *parts: Part) -> str:
        """'12.1 ms of 20.3 ms per frame (60 %)'."""
        total = sum(part.ns for part in parts)
        return f"{format_ms(total)} of {format_ms(self.ns)} per frame ({total / self.ns:.0%})"


def program_causes(program: Program, summary: Summary) -> tuple[Suspected, ...]:
    """The causes that the parts of a program's frames suggest, the largest first; none where the budget is met."""
    if not program.parts or summary.met:
        return ()
    frame = _Frame(program, summary)
    rules: tuple[Callable[[_Frame], Iterator[_Ranked]], ...] = (
        _lock, _reloaded, _waits, _locked, _sought, _stages, _queue, _collections, _one_by_one, _paced,
    )  # fmt: skip
    ranked = [one for rule in rules for one in rule(frame)]
    return tuple(one for _, one in sorted(ranked, key=lambda pair: -pair[0]))


def _lock(frame: _Frame) -> Iterator[_Ranked]:
    """A thread computes in Python, and every other waits until it lets the lock go. It slows all stages: rank first."""
    if not holds_the_lock(frame.program):
        return
    busy = frame.parts("beside")
    where = busy[0].name or "a thread"
    yield (
        1.0,
        Suspected(
            code="FP014",
            title="a thread beside the frames holds Python's interpreter lock",
            because=f"{where} takes {busy[0].ns / NS_PER_S:.0%} of a core; the others wait "
            f"{format_ms(frame.program.lock_wait)} for the lock",
            command="framepace attach --try switch-interval=short -- PROGRAM",
            decides="the same frames where the lock changes hands ten times as often",
        ),
    )


def _reloaded(frame: _Frame) -> Iterator[_Ranked]:
    """More often than once per model: each may be loaded by the first frame that needs it."""
    parts = [p for p in frame.parts(*WORKING, "between") if p.name in _LOADING_CALLS and p.count >= _RELOADED]
    loads = sum(part.count for part in parts) * frame.summary.frames.requests
    if loads > 2 * len(frame.program.sessions):
        yield (
            frame.share(*parts),
            Suspected(
                code="",
                title="the model is loaded again for every frame",
                because=f"{parts[0].name} is made {parts[0].count:.2g} times per frame, {frame.words(*parts)}",
                command="make the session once, before the loop; then framepace compare",
                decides="the latency without loading",
            ),
        )


def _waits(frame: _Frame) -> Iterator[_Ranked]:
    """Sleeps within a frame: after its picture came, before its answer is there."""
    parts = [part for part in frame.parts("prepare", "finish", "queue") if part.name in _WAITING_CALLS]
    share = frame.share(*parts)
    if share >= _WAITS:
        yield (
            share,
            Suspected(
                code="FP024",
                title="frames wait in the program's own sleep",
                because=f"{parts[0].name} while a frame is under way: {frame.words(*parts)}",
                command="sleep only between two frames, or wait for the picture itself (queue.Queue.get)",
                decides="the latency without that sleep",
            ),
        )


def _locked(frame: _Frame) -> Iterator[_Ranked]:
    """Lines of the program in which a frame waits until another thread lets a lock go."""
    parts = [part for part in frame.parts("prepare", "finish", "queue") if part.name.endswith(_LOCK)]
    share = frame.share(*parts)
    if share >= _WAITS:
        yield (
            share,
            Suspected(
                code="FP024",
                title="frames wait for a lock that another thread holds",
                because=f"{parts[0].name}: {frame.words(*parts)}",
                command="hold the lock for as long as the data is copied, and do the slow work after that",
                decides="the latency without that wait",
            ),
        )


def _sought(frame: _Frame) -> Iterator[_Ranked]:
    """A seek decodes from the last key frame on, and throws away what comes before the picture that is wanted."""
    parts = [part for part in frame.parts("decode") if part.name in _SEEKING_CALLS and part.count >= _SOUGHT]
    share = frame.share(*parts)
    if share >= _SEEKING:
        yield (
            share,
            Suspected(
                code="FP011",
                title="pictures are sought one by one instead of read on",
                because=f"{parts[0].name} is called {parts[0].count:.2g} times per frame, {frame.words(*parts)}",
                command="read pictures in their order and skip what is not wanted (cv2.VideoCapture.grab)",
                decides="framepace compare tells how much of the latency came back",
            ),
        )


def _stages(frame: _Frame) -> Iterator[_Ranked]:
    """The stages beside the model that take much of a frame."""
    stages = {stage: [part for part in frame.parts(stage) if not _has_a_rule(part)] for stage in _TITLES}
    least = _much([frame.share(*parts) for parts in stages.values()])
    for stage, title in _TITLES.items():
        parts = stages[stage]
        share = frame.share(*parts)
        if share >= least:
            yield (
                share,
                Suspected(
                    code="FP011",
                    title=title,
                    because=f"{stage} takes {frame.words(*parts)}{_mostly(parts)}",
                    command=f"framepace attach --out runs/after -- PROGRAM, with less in {parts[0].name or stage}",
                    decides="framepace compare tells how much of the latency came back",
                ),
            )


def _much(shares: Sequence[float]) -> float:
    """The share of a frame from which a stage is suspected: a third.

    Where the stages share a third of it, so that none may take that alone: a quarter, or what the largest takes.
    """
    if sum(shares) < _TOGETHER:
        return _LARGE
    return min(_QUITE_LARGE, max(shares))


def _has_a_rule(part: Part) -> bool:
    """Whether a part is told by a rule of its own."""
    return part.name in _OTHERS or part.name.endswith(_LOCK)


def _mostly(parts: list[Part]) -> str:
    """Where most of a stage is spent."""
    if not parts[0].name:
        return ""
    return f", {parts[0].ns / sum(part.ns for part in parts):.0%} of it in {parts[0].name}"


def _queue(frame: _Frame) -> Iterator[_Ranked]:
    parts = [part for part in frame.parts("queue") if part.name not in _WAITING_CALLS]
    share = frame.share(*parts)
    if share >= _MOSTLY_QUEUE:
        yield (
            share,
            Suspected(
                code="FP018",
                title="frames wait for those before them",
                because=f"decoded pictures wait {frame.words(*parts)}",
                command="keep the newest picture only (queue of one), or read no faster than frames are inferred",
                decides="the latency without a queue; the throughput stays",
            ),
        )


def _collections(frame: _Frame) -> Iterator[_Ranked]:
    parts = [part for part in frame.parts(*WORKING) if part.name == _COLLECTION]
    share = frame.share(*parts)
    if share >= _COLLECTING:
        yield (
            share,
            Suspected(
                code="FP015",
                title="garbage collections stop the frames",
                because=f"collections take {frame.words(*parts)}",
                command="framepace attach --try collections=off -- PROGRAM",
                decides="the slowest frames without collections",
            ),
        )


def _one_by_one(frame: _Frame) -> Iterator[_Ranked]:
    """On a GPU, where a batch costs hardly more than one picture; on a CPU it mostly costs as many times as much."""
    parts = [part for part in frame.parts("infer") if part.count >= _ONE_BY_ONE]
    if parts and any(_CPU not in session.providers[:1] for session in frame.program.sessions.values()):
        yield (
            frame.share(*parts) / 2,  # a batch of all takes some time too
            Suspected(
                code="FP009",
                title="inferences run one by one",
                because=f"{parts[0].count:.0f} inferences per frame, {frame.words(*parts)}",
                command="framepace sweep MODEL --scope model --vary batch=1,2,4,8",
                decides="what a picture costs in a batch",
            ),
        )


def _paced(frame: _Frame) -> Iterator[_Ranked]:
    """The loop sleeps although it is behind the rate that is wanted, which it would keep without.

    In the median: one stall is no cause.
    """
    fps = frame.program.target.fps
    parts = [part for part in frame.parts("between") if part.name in _WAITING_CALLS]
    period = frame.program.period
    if fps is None or not parts or not period:
        return
    wanted = NS_PER_S / fps
    share = parts[0].ns / period
    if period - parts[0].ns < wanted < _TOO_SLOW * period and share >= _IDLE:
        yield (
            share,
            Suspected(
                code="",
                title="the loop sleeps although it is behind",
                because=f"a frame begins {format_ms(period)} after the one before, {format_ms(wanted)} are "
                f"wanted, and {parts[0].name} takes {format_ms(parts[0].ns)}",
                command="sleep what is left of the frame period: max(0, due - time.perf_counter())",
                decides="the rate without that sleep",
            ),
        )


def share_of(program: Program, stages: Sequence[str], library: str) -> float:
    """What the calls of a library ('cv2.', 'gc') take of a frame, in some of its stages."""
    parts = [part for part in program.parts if part.stage in stages and part.name.startswith(library)]
    total = sum(part.ns for part in program.parts if part.stage in WORKING)
    return sum(part.ns for part in parts) / max(1.0, total)


def holds_the_lock(program: Program) -> bool:
    """Whether a thread without frames computes in Python, and others wait for the interpreter lock."""
    busy = any(part.stage == "beside" for part in program.parts)
    return busy and program.lock_wait >= _LOCK_WAIT_NS
