"""What the stages of a program's frames consist of: calls, and lines of the program between them. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from framepace.attaching.calls import BESIDE, Calls
from framepace.attaching.frame import Frame
from framepace.attaching.frames import frames_of
from framepace.facts.program import Part
from framepace.units import NS_PER_MS, NS_PER_S

_DEVICE = "on the device, after the call"
_WARMUP = 10  # parts of the frames, of which it is one
_MOST_PARTS = 24
_AT_ONCE_NS = NS_PER_MS
_SWITCH_NS = 5 * NS_PER_MS  # Python's own interval
_SMALLEST = 0.001  # of a frame, under which a part is none
# Of the CPU time of Python's threads and of a core, from which a thread without frames is a part. Where others
# take the cores, a thread that never rests has little of one.
_BUSY_SHARE = 0.2
_BUSY = 0.03


@dataclass(frozen=True)
class Span:
    """A stretch of a frame on one thread (ns)."""

    stage: str
    begin: int
    end: int
    thread: int


@dataclass
class _Thread:
    """The calls of a thread, in order, when they end, and its samples."""

    calls: list[tuple[int, int, str]] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    samples: list[tuple[int, str]] = field(default_factory=list)

    def add_call(self, stage: str, begin: int, end: int, name: str) -> None:
        """A call that began after those before; a collection only where it is in none of them."""
        if stage in BESIDE and (stage != "gc" or begin < max(self.ends[-1:], default=0)):
            return
        self.calls.append((begin, end, name))
        self.ends.append(end)

    def add_sample(self, due: int, time: int, line: str) -> None:
        """Where the thread was, if the sample tells."""
        self.samples.append((time, line if _is_telling(time - due) else ""))

    def within(self, span: Span) -> list[tuple[int, int, str]]:
        """The calls that overlap with a span."""
        return self.calls[bisect_right(self.ends, span.begin) : bisect_left(self.calls, (span.end,))]

    def sampled(self, span: Span) -> list[tuple[int, str]]:
        """The samples in a span."""
        return self.samples[bisect_left(self.samples, (span.begin,)) : bisect_left(self.samples, (span.end,))]


class _Sums:
    """What spans consist of so far: calls by stage and name, and the time and the samples of each stage in no call."""

    def __init__(self) -> None:
        self._calls: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._counts: Counter[tuple[str, str]] = Counter()
        self._outside: defaultdict[str, int] = defaultdict(int)
        self._lines: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add(self, span: Span, thread: _Thread) -> None:
        """A span of a frame on a thread."""
        calls = thread.within(span)
        outside = span.end - span.begin
        for begin, end, name in calls:
            took = min(end, span.end) - max(begin, span.begin)
            self._calls[span.stage, name] += took
            self._counts[span.stage, name] += 1
            outside -= took
        if span.stage == "infer":
            self._add_device(outside)
            return
        self._outside[span.stage] += outside
        self._lines[span.stage].update(_lines_outside(thread.sampled(span), calls))

    def _add_device(self, outside: int) -> None:
        """What an inference lasts longer than its call."""
        if outside > 0:
            self._calls["infer", _DEVICE] += outside
            self._counts["infer", _DEVICE] += 1

    def parts(self, frames: int) -> Iterator[Part]:
        """The parts of so many frames."""
        for (stage, name), ns in self._calls.items():
            yield Part(stage=stage, name=name, ns=ns / frames, count=self._counts[stage, name] / frames)
        for stage, ns in self._outside.items():
            lines = self._lines[stage] or Counter([""])
            for line, count in lines.items():
                yield Part(stage=stage, name=line, ns=ns / frames * count / lines.total())


def parts_of(processes: Sequence[Calls]) -> tuple[Part, ...]:
    """The parts of the frames of all processes, the largest first."""
    frames = [frames_of(calls) for calls in processes]
    parts = [*_named(processes, sum(map(len, frames))), *_material(list(_measured(processes, frames)))]
    parts += [part for calls in _with_frames(processes) for part in _beside(calls)]
    return tuple(sorted(parts, key=lambda part: -part.ns)[:_MOST_PARTS])


def period(processes: Sequence[Calls]) -> float:
    """The time from one frame to the next of the thread that has most of them: ns, median; 0 with fewer than two."""
    begun: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for place, calls in enumerate(processes):
        for frame in frames_of(calls):
            begun[place, frame.thread].append(frame.began)
    most = max(begun.values(), key=len, default=[])
    if len(most) < 2:
        return 0.0
    return float(np.median(np.diff(most)))


def _measured(processes: Sequence[Calls], frames: Sequence[Sequence[Frame]]) -> Iterator[Part]:
    """The parts of all frames but those of the warm-up."""
    sums = _Sums()
    count = 0
    for calls, own in zip(processes, frames, strict=True):
        measured = own[len(own) // _WARMUP :]
        count += len(measured)
        threads = _threads(calls)
        for span in _spans(measured):
            sums.add(span, threads.get(span.thread, _Thread()))
    return sums.parts(max(1, count))


def _named(processes: Sequence[Calls], frames: int) -> Iterator[Part]:
    """The stages that the program named, whole: they are none of the parts that add up."""
    times: defaultdict[str, list[int]] = defaultdict(list)
    for calls in processes:
        named = calls.where(calls.stage == "stage")
        for number, took in zip(named.name.tolist(), (named.end - named.begin).tolist(), strict=True):
            times[calls.facts.names[number][1]].append(took)
    for name, took in times.items():
        yield Part(stage="named", name=name, ns=sum(took) / max(1, frames), count=len(took) / max(1, frames))


def _material(parts: Sequence[Part]) -> Iterator[Part]:
    smallest = _SMALLEST * sum(part.ns for part in parts)
    return (part for part in parts if part.ns > smallest)


def lock_wait(processes: Sequence[Calls]) -> float:
    """How long the sampler waited for the interpreter in the process of frames with most samples: ns, median."""
    late = [(calls.end - calls.begin)[calls.stage == "line"] for calls in _with_frames(processes)]
    most = max(late, key=len, default=np.empty(0))
    if not len(most):
        return 0.0
    return float(np.median(most))


def _threads(calls: Calls) -> dict[int, _Thread]:
    threads: defaultdict[int, _Thread] = defaultdict(_Thread)
    names = [name for _, name in calls.facts.names]
    for (stage, begin, end, number, _), name in zip(calls.rows(), calls.name.tolist(), strict=True):
        if stage == "line":
            threads[number].add_sample(begin, end, names[name])
        else:
            threads[number].add_call(stage, begin, end, names[name])
    for thread in threads.values():
        thread.samples.sort()
    return threads


def _is_telling(late_ns: int) -> bool:
    """Whether a sample says where a thread was when it was due.

    One that came late had to wait for the interpreter lock: until its holder was made to let it go, at the same line,
    or, before that, until it let it go by itself, somewhere else.
    """
    return late_ns < _AT_ONCE_NS or late_ns >= _SWITCH_NS


def _lines_outside(samples: Sequence[tuple[int, str]], calls: Sequence[tuple[int, int, str]]) -> Iterator[str]:
    """The lines of samples that are in no call."""
    for time, line in samples:
        if not any(begin <= time < end for begin, end, _ in calls):
            yield line


def _spans(frames: Sequence[Frame]) -> Iterator[Span]:
    """The stages of each frame one after the other, and what lies between it and the next one of its thread."""
    free: dict[int, int] = {}
    for frame in frames:
        first = min((p.begin for p in frame.pictures if p.thread == frame.thread), default=_taken(frame))
        if first > free.get(frame.thread, first):
            yield Span("between", free[frame.thread], first, frame.thread)
        yield from _stages(frame)
        free[frame.thread] = frame.delivered


def _taken(frame: Frame) -> int:
    """When the thread of a frame took it: not before its picture was ready."""
    known = frame.taken if frame.taken >= 0 else frame.began
    return max([known, *(picture.end for picture in frame.pictures)])


def _stages(frame: Frame) -> Iterator[Span]:
    taken = _taken(frame)
    for picture in frame.pictures:
        yield Span("decode", picture.begin, picture.end, picture.thread)
    if frame.pictures:
        yield Span("queue", max(picture.end for picture in frame.pictures), taken, frame.thread)
    free = taken
    for inference in frame.inferences:
        if inference.end > free:  # else another thread's took longer
            begin = max(free, inference.begin)
            yield Span("prepare", free, begin, inference.thread)
            yield Span("infer", begin, inference.end, inference.thread)
            free = inference.end
    yield Span("finish", free, frame.delivered, frame.thread)


def _with_frames(processes: Sequence[Calls]) -> Iterator[Calls]:
    """Those that infer: what the threads of another one do keeps no frame from the interpreter lock."""
    return (calls for calls in processes if (calls.stage == "infer").any())


def _beside(calls: Calls) -> Iterator[Part]:
    """The threads without frames that take CPU time."""
    working = set(calls.thread[np.isin(calls.stage, ("infer", "decode"))].tolist())
    used = calls.where(calls.stage == "cpu")
    for number in set(used.thread.tolist()) - working:
        own = used.where(used.thread == number)
        per_second = NS_PER_S * float(own.value.sum()) / max(1, own.end.max() - own.begin.min())
        share = own.value.sum() / used.value.sum()
        if per_second >= _BUSY * NS_PER_S and share >= _BUSY_SHARE:
            yield Part(stage="beside", name=_where_mostly(calls, number), ns=float(per_second))


def _where_mostly(calls: Calls, thread: int) -> str:
    lines = calls.name[(calls.stage == "line") & (calls.thread == thread)]
    if not len(lines):
        return ""
    return calls.facts.names[int(np.bincount(lines).argmax())][1]
