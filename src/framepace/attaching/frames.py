"""Which calls are one frame, and its stamps: pure, from the calls of one process.

A program may name its frames (`framepace.frame()`); what is decoded and inferred in their blocks is theirs. Else a
frame begins with the call that decodes its picture. Where the same thread infers, its inferences are those before the
next picture. Where another thread infers, a frame of that thread begins whenever its first model runs again. Where
about as many pictures as frames came (a queue), its picture is the next one in order, counted from a frame for which
the thread had waited: then nothing was in the queue, and the picture that came while it waited is that frame's. Else
it is the latest that was ready (a reader that keeps the newest). So it is where threads of a pool decode and infer
for each other. A thread that decoded at its begin alone is none that decodes. Where several threads infer, and all have
done when the next picture is decoded, a frame is a picture and all its inferences. Without pictures a frame is what
lies between two runs of the first model.

What lies between two stamps of a thread and is in no call is preparation (before an inference) or finishing (after
the last one, until the thread decodes or waits again).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest

import numpy as np

from framepace.attaching.calls import Calls
from framepace.attaching.frame import Frame, Inference, Picture, inferences_of, pictures_of
from framepace.attaching.lockstep import frames_in_step
from framepace.attaching.namedframes import named_frames

_ALIKE = 0.9  # pictures per frame, or frames per picture, from which on they are one to one
_SOME = 10  # inferences of one picture, from which on they are no parts of it where other threads decode
_MANY = 50  # the same where none does
_SLEEPS = ("time.sleep", "cv2.waitKey", "cv2.pollKey")  # waits that no other thread ends
_LEAVING = ("decode", "grab", "wait")  # what a thread does between two frames


def frames_of(calls: Calls) -> list[Frame]:
    """The frames of a process, in the order in which their inferences began; those that it named, where it did."""
    if (calls.stage == "frame").any():
        return sorted(named_frames(calls), key=_begin)
    return sorted(_found(calls), key=_begin)


def _begin(frame: Frame) -> int:
    return frame.began


def _found(calls: Calls) -> list[Frame]:
    pictures = pictures_of(calls)
    inferring = set(calls.thread[calls.stage == "infer"].tolist())
    both = sorted(_decoding_too(calls, inferring, pictures))
    frames = [frame for thread in both for frame in _of_one_thread(calls, thread, pictures[thread])]
    if len(both) > 1 and _is_pool(calls, frames, pictures):
        return _of_workers(calls, sorted(inferring), _in_time(pictures, pictures))
    readers = pictures.keys() - set(both) if pictures.keys() - inferring else ()
    return [*frames, *_of_workers(calls, sorted(inferring.difference(both)), _in_time(pictures, readers))]


def _decoding_too(calls: Calls, inferring: set[int], pictures: Mapping[int, Sequence[Picture]]) -> Iterator[int]:
    """The threads that infer what they decode, but for those that decoded at their begin alone.

    These learned the size, or have a picture for all inferences. Of one picture there may be many parts to infer, so
    that it takes many more where no other thread decodes.
    """
    others = pictures.keys() - inferring
    for thread in inferring & pictures.keys():
        fewest = max(_SOME, len(pictures[thread])) if others else _MANY
        if not _goes_on(calls, thread, pictures[thread], fewest):
            yield thread


def _goes_on(calls: Calls, thread: int, pictures: Sequence[Picture], fewest: int) -> bool:
    """Whether nearly all inferences of a thread, and so many, came after its last picture and what was made of it."""
    begins = calls.begin[(calls.stage == "infer") & (calls.thread == thread)]
    after = int((begins >= pictures[-1].end).sum()) - 1  # the first one is that picture's
    return after >= max(fewest, _ALIKE * (len(begins) - 1))


def _in_time(pictures: Mapping[int, Sequence[Picture]], threads: Iterable[int]) -> list[Picture]:
    """The pictures of threads as they came."""
    return sorted((picture for thread in threads for picture in pictures[thread]), key=lambda one: one.end)


def _is_pool(calls: Calls, frames: Sequence[Frame], pictures: Mapping[int, Sequence[Picture]]) -> bool:
    """Whether threads decode and infer for each other, as those of an executor do: by thread, frames are missing.

    As many are expected as the model ran that runs least often: others run for each crop of a picture.
    """
    models = calls.value[(calls.stage == "infer") & (calls.value >= 0)]
    runs = min(Counter(models.tolist()).values(), default=0)
    return len(frames) < _ALIKE * min(runs, sum(map(len, pictures.values())))


def _of_workers(calls: Calls, threads: Sequence[int], pictures: Sequence[Picture]) -> list[Frame]:
    """The frames of threads that infer what others decode."""
    if len({picture.thread for picture in pictures}) == 1:
        inferences = [inference for thread in threads for inference in inferences_of(calls, thread)]
        in_step = frames_in_step(pictures, inferences)
        if in_step is not None:
            _end_frames(calls, pictures[0].thread, in_step)
            return in_step
    workers = [frame for thread in threads for frame in _of_a_worker(calls, thread)]
    workers.sort(key=_begin)
    _match(workers, pictures)
    return workers


def _of_one_thread(calls: Calls, thread: int, pictures: Sequence[Picture]) -> list[Frame]:
    """The frames of a thread that decodes and infers: an inference with no new picture belongs to the frame before."""
    frames: list[Frame] = []
    ready = [picture.end for picture in pictures]
    used = 0
    for inference in inferences_of(calls, thread):
        count = bisect_right(ready, inference.begin)
        if count > used:
            frames.append(_with_pictures(thread, inference, pictures[used:count]))
            used = count
        elif frames:
            frames[-1].inferences.append(inference)
    _end_frames(calls, thread, frames)
    return frames


def _with_pictures(thread: int, inference: Inference, decoded: Sequence[Picture]) -> Frame:
    """The frame that begins with an inference: the latest picture of each source that was decoded for it."""
    latest = {picture.source: picture for picture in decoded}
    return Frame(thread, max(picture.end for picture in latest.values()), [inference], list(latest.values()))


def _of_a_worker(calls: Calls, thread: int) -> list[Frame]:
    """The frames of a thread that infers and does not decode: each begins with its first model."""
    frames: list[Frame] = []
    for inference in inferences_of(calls, thread):
        if frames and inference.model != frames[0].inferences[0].model:
            frames[-1].inferences.append(inference)
        else:
            frames.append(Frame(thread, -1, [inference]))
    _end_frames(calls, thread, frames)
    waits = _times(calls, thread, lambda stage: stage == "wait", ends=True)
    given = _waits_for_another(calls, thread)
    free = -1
    for frame in frames:
        frame.taken = max(free, _latest(waits, frame.began))
        frame.idle = given.get(frame.taken, -1)
        free = frame.delivered
    return frames


def _waits_for_another(calls: Calls, thread: int) -> dict[int, int]:
    """The waits of a thread that another one ends, by when they ended: when they began."""
    asleep = [number for number, (_, name) in enumerate(calls.facts.names) if name in _SLEEPS]
    waits = calls.where((calls.stage == "wait") & (calls.thread == thread) & ~np.isin(calls.name, asleep))
    return dict(zip(waits.end.tolist(), waits.begin.tolist(), strict=True))


def _times(calls: Calls, thread: int, wanted: Callable[[str], bool], *, ends: bool = False) -> list[int]:
    """When calls of a thread began, or ended, in order."""
    chosen = [(begin, end) for stage, begin, end, caller, _ in calls.rows() if caller == thread and wanted(stage)]
    return sorted(times[ends] for times in chosen)


def _latest(times: Sequence[int], before: int) -> int:
    """The latest of sorted times that is not after another; -1 where there is none."""
    count = bisect_right(times, before)
    if not count:
        return -1
    return times[count - 1]


def _end_frames(calls: Calls, thread: int, frames: Sequence[Frame]) -> None:
    """A frame ends where its thread decodes or waits again, at the latest before the next one begins."""
    leaving = _times(calls, thread, lambda stage: stage in _LEAVING)
    for frame, following in zip_longest(frames, [frame.began for frame in frames[1:]]):
        done = frame.ended
        place = bisect_left(leaving, done)
        ends = leaving[place : place + 1]
        if following is not None:
            ends.append(following)
        frame.delivered = max(done, min(ends, default=done))


def _match(frames: Sequence[Frame], pictures: Sequence[Picture]) -> None:
    """Give the frames of workers the pictures of readers."""
    fewer, more = sorted((len(frames), len(pictures)))
    in_order = fewer >= _ALIKE * more
    ready = [picture.end for picture in pictures]
    places = _in_order(frames, ready) if in_order else _latest_ready(frames, ready)
    for place, frame in zip(places, frames, strict=True):
        if 0 <= place < len(pictures) and ready[place] <= frame.began:
            frame.pictures = [pictures[place]]


def _latest_ready(frames: Sequence[Frame], ready: Sequence[int]) -> Iterator[int]:
    """The places of the pictures that were the newest when their frames were taken."""
    for frame in frames:
        yield bisect_right(ready, max(frame.taken, 0) or frame.began) - 1


def _in_order(frames: Sequence[Frame], ready: Sequence[int]) -> list[int]:
    """One picture after the other, from each frame on whose picture came while its thread waited."""
    shifts: list[int] = []
    for number, frame in enumerate(frames):
        came = bisect_right(ready, frame.idle)
        if frame.idle >= 0 and came < len(ready) and ready[came] <= frame.taken:
            missing = number + 1 - len(shifts)  # what came before the first such frame is counted from it too
            shifts += [came - number] * missing
        elif shifts:
            shifts.append(shifts[-1])
    shifts = shifts or [0] * len(frames)
    return [number + shift for number, shift in enumerate(shifts)]
