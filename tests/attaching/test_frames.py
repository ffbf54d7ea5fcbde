"""Which calls are one frame: calls that are made up, in microseconds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from framepace.attaching.calls import RAISED, Calls, ProcessFacts, Stage
from framepace.attaching.frames import frames_of
from framepace.attaching.requests import observed

MAIN, READER, OTHER = 1, 2, 3
PAIRS = ((MAIN, 0), (OTHER, 1))


def calls_of(*rows: tuple[str, int, int, int, int]) -> Calls:
    """Calls of one process from stage, begin, end, thread and value."""
    ordered = sorted(rows, key=lambda row: row[1])
    stage, begin, end, thread, value = zip(*ordered, strict=True)
    columns = [np.array(column, np.int64) for column in (begin, end, thread, value, [0] * len(rows))]
    return Calls(1, ProcessFacts((), ()), np.array(stage), np.zeros(len(rows), np.int64), *columns)


def test_inferences_before_the_next_picture_are_one_frame() -> None:
    """A detector and two crops of a classifier, twice."""
    rows = []
    for start in (0, 100):
        rows += [("decode", start, start + 10, MAIN, 0), ("infer", start + 20, start + 30, MAIN, 0)]
        rows += [("infer", start + at, start + at + 5, MAIN, 1) for at in (40, 50)]
    frames = frames_of(calls_of(*rows))
    assert [[inference.model for inference in frame.inferences] for frame in frames] == [[0, 1, 1], [0, 1, 1]]
    assert [frame.pictures[0].begin for frame in frames] == [0, 100]
    assert [frame.delivered for frame in frames] == [100, 155]  # where the thread decodes again; its last inference


def test_pictures_that_nobody_infers_are_no_frames_and_grabs_belong_to_the_next_picture() -> None:
    """One of three is used: it begins with its own decoding."""
    rows = [("decode", at, at + 5, MAIN, 0) for at in (0, 10)]
    rows += [("grab", 20, 22, MAIN, 0), ("decode", 23, 25, MAIN, 0), ("infer", 30, 40, MAIN, 0)]
    (frame,) = frames_of(calls_of(*rows))
    assert [(picture.begin, picture.end) for picture in frame.pictures] == [(20, 25)]


def test_a_part_of_a_picture_that_is_opened_as_a_file_begins_no_frame() -> None:
    """A crop that goes through PNG; where nothing else decodes, an opened file is the picture."""
    rows = [("decode", 0, 5, MAIN, 0), ("decode", 6, 8, MAIN, 0), ("infer", 10, 20, MAIN, 0)]
    calls = calls_of(*rows)
    names: tuple[tuple[Stage, str], ...] = (("decode", "cv2.VideoCapture.read"), ("decode", "PIL.Image.open"))
    both = replace(calls, facts=ProcessFacts((), names), name=np.array([0, 1, 0]))
    assert frames_of(both)[0].pictures[0].begin == 0
    alone = replace(both, facts=ProcessFacts((), names[1:]), name=np.array([0, 0, 0]))
    assert frames_of(alone)[0].pictures[0].begin == 6


def test_a_thread_that_decodes_once_to_learn_the_size_takes_the_pictures_of_the_reader() -> None:
    """As classes of readers do, which take the first picture where they are made: a frame each, and no single one."""
    rows = [("decode", 0, 5, MAIN, 0)]
    rows += [("decode", 100 * n, 100 * n + 5, READER, 0) for n in range(1, 20)]
    rows += [("infer", 100 * n + 10, 100 * n + 50, MAIN, 0) for n in range(20)]
    frames = frames_of(calls_of(*rows))
    assert [len(frame.inferences) for frame in frames] == [1] * 20
    assert [frame.pictures[0].begin for frame in frames] == [100 * n for n in range(20)]


def test_many_inferences_of_the_one_picture_are_frames_and_a_few_are_its_parts() -> None:
    """A benchmark that decodes once and infers sixty times; a picture in twelve tiles, and three of fifty."""
    for decoded, tiles, expected in ((1, 60, [1] * 60), (1, 12, [12]), (3, 50, [50] * 3)):
        rows = []
        for start in range(0, decoded * 1000, 1000):
            rows += [("decode", start, start + 5, MAIN, 0)]
            rows += [("infer", start + 10 * n, start + 10 * n + 5, MAIN, 0) for n in range(1, tiles + 1)]
        frames = frames_of(calls_of(*rows))
        assert [len(frame.inferences) for frame in frames] == expected


def test_pictures_of_several_cameras_before_an_inference_are_a_batch() -> None:
    """The latest of each."""
    rows = [("decode", 10 * camera, 10 * camera + 5, MAIN, camera) for camera in range(3)]
    (frame,) = frames_of(calls_of(*rows, ("infer", 50, 60, MAIN, 0)))
    assert [picture.source for picture in frame.pictures] == [0, 1, 2]


def test_a_queue_hands_pictures_on_in_order() -> None:
    """As many frames as pictures: the first for the first, though the second is there already."""
    rows = [("decode", at, at + 1, READER, 0) for at in range(0, 40, 10)]
    rows += [("infer", 35 + 20 * n, 45 + 20 * n, MAIN, 0) for n in range(4)]
    frames = frames_of(calls_of(*rows))
    assert [frame.pictures[0].begin for frame in frames] == [0, 10, 20, 30]


def test_pictures_before_the_first_frame_do_not_shift_those_after_it() -> None:
    """Two are decoded to see that they can be; then the reader hands on one per 100, for which the other waits."""
    rows = [("decode", at, at + 5, READER, 0) for at in (0, 10, *range(100, 3000, 100))]
    rows += [("wait", at - 50, at + 10, MAIN, 0) for at in range(100, 3000, 100)]
    rows += [("infer", at + 20, at + 30, MAIN, 0) for at in range(100, 3000, 100)]
    frames = frames_of(calls_of(*rows))
    assert [frame.pictures[0].begin for frame in frames] == list(range(100, 3000, 100))
    never_idle = frames_of(calls_of(*(row for row in rows if row[0] != "wait")))
    assert [frame.pictures[0].begin for frame in never_idle[:3]] == [0, 10, 100]  # a queue that is never empty


def test_a_reader_that_keeps_the_newest_hands_on_the_latest_picture() -> None:
    """Ten pictures for two frames."""
    rows = [("decode", at, at + 1, READER, 0) for at in range(0, 100, 10)]
    rows += [("wait", 0, 35, MAIN, 0), ("infer", 36, 50, MAIN, 0), ("wait", 55, 85, MAIN, 0)]
    frames = frames_of(calls_of(*rows, ("infer", 87, 95, MAIN, 0)))
    assert [frame.pictures[0].begin for frame in frames] == [30, 80]
    assert [frame.taken for frame in frames] == [35, 85]
    assert frames[0].delivered == 55


def test_without_pictures_a_frame_begins_with_its_first_model() -> None:
    """Two models in turn."""
    rows = [("infer", at, at + 5, MAIN, at // 10 % 2) for at in range(0, 40, 10)]
    frames = frames_of(calls_of(*rows))
    assert [[inference.model for inference in frame.inferences] for frame in frames] == [[0, 1], [0, 1]]
    assert frames[0].pictures == []


def test_a_call_that_raised_is_a_failed_inference() -> None:
    """Of the model that its value still names."""
    (frame,) = frames_of(calls_of(("infer", 0, 5, MAIN, RAISED - 1)))
    assert frame.inferences[0].model == 1
    assert frame.inferences[0].failed


def test_models_in_a_pool_of_threads_are_one_frame_with_their_picture() -> None:
    """Two models on two threads that take turns, at once; the reader goes on when both have done."""
    rows = []
    for number in range(20):
        start = 100 * number
        first, second = (MAIN, OTHER) if number % 3 else (OTHER, MAIN)
        rows += [("decode", start, start + 10, READER, 0), ("wait", start + 11, start + 60, READER, 0)]
        rows += [("infer", start + 15, start + 60, first, 0), ("infer", start + 20, start + 40, second, 1)]
    calls = calls_of(*rows)
    frames = frames_of(calls)
    assert [[inference.model for inference in frame.inferences] for frame in frames] == [[0, 1]] * 20
    assert [frame.pictures[0].begin for frame in frames] == list(range(0, 2000, 100))
    assert {frame.delivered - frame.pictures[0].begin for frame in frames[:-1]} == {100}
    seen = observed([calls]).requests
    assert (seen["batched"] == seen["due"] + 10).all()
    assert set((seen["finished"] - seen["due"]).tolist()) == {60, 40}


def test_models_that_go_on_while_the_next_picture_is_decoded_are_frames_of_their_threads() -> None:
    """Two threads with a queue each."""
    rows = [("decode", at, at + 10, READER, 0) for at in range(0, 2000, 100)]
    rows += [("infer", at + 20, at + 110, thread, model) for at in range(0, 2000, 100) for thread, model in PAIRS]
    assert len(frames_of(calls_of(*rows))) == 40


def test_threads_of_a_pool_that_decode_and_infer_for_each_other_are_a_queue() -> None:
    """Whichever thread is free decodes the next picture or infers the last: each picture is a frame, in order."""
    rows = []
    for number in range(12):
        decodes, infers = ((MAIN, OTHER), (MAIN, OTHER), (OTHER, MAIN))[number % 3]
        rows.append(("decode", 100 * number, 100 * number + 10, decodes, 0))
        rows.append(("infer", 100 * number + 20, 100 * number + 60, infers, 0))
    frames = frames_of(calls_of(*rows))
    assert [len(frame.inferences) for frame in frames] == [1] * 12
    assert [frame.pictures[0].begin for frame in frames] == [100 * number for number in range(12)]


def test_two_threads_with_a_camera_each_keep_their_own_pictures() -> None:
    """A detector on every second picture of each, and a classifier of crops: no pool, though one model runs more."""
    rows = []
    for number in range(12):
        for thread in (MAIN, OTHER):
            begin = 100 * number + 5 * thread
            rows.append(("decode", begin, begin + 10, thread, thread))
            if number % 2:
                rows.append(("infer", begin + 20, begin + 30, thread, 0))
                rows += [("infer", begin + at, begin + at + 5, thread, 1) for at in (40, 50, 60)]
    frames = frames_of(calls_of(*rows))
    assert [len(frame.inferences) for frame in frames] == [4] * 12
    assert all(frame.pictures[0].thread == frame.thread for frame in frames)


def test_a_thread_that_infers_before_it_decodes_has_no_frame_yet() -> None:
    """Threads of a pool take any task: what one inferred came from another, and its first picture is yet to come."""
    rows = [("infer", 0, 10, OTHER, 0), ("decode", 20, 25, OTHER, 0)]
    rows += [("decode", 100, 105, MAIN, 0), ("infer", 110, 120, MAIN, 0)]
    assert [frame.began for frame in frames_of(calls_of(*rows)) if frame.pictures] == [110]


def test_a_task_of_a_pool_is_taken_when_its_thread_begins_it() -> None:
    """Pictures wait while two threads work in turn: what lies before their task is a queue, and no preparation."""
    rows = [("decode", 100 * n, 100 * n + 5, READER, 0) for n in range(12)]
    for begin in range(60, 1260, 100):
        thread = (OTHER, MAIN)[begin // 100 % 2]
        rows += [("wait", begin, begin, thread, 0), ("infer", begin + 5, begin + 70, thread, 0)]
    frames = frames_of(calls_of(*rows))
    assert [frame.began - frame.taken for frame in frames] == [5] * 12
    assert [frame.taken - frame.pictures[0].end for frame in frames] == [55] * 12
