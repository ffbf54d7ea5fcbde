"""What the stages of frames consist of: calls that are made up, in milliseconds."""

from __future__ import annotations

import numpy as np
import pytest

from framepace.attaching.calls import Calls, ProcessFacts, Stage
from framepace.attaching.parts import lock_wait, parts_of, period

MAIN, OTHER = 1, 2
MS = 1_000_000


Row = tuple[Stage, str, float, float, int]


def calls_of(*rows: Row) -> Calls:
    """Calls of one process from stage, name, begin and end (ms), and thread; pictures are of one source."""
    ordered = sorted(rows, key=lambda row: row[2])
    names = list(dict.fromkeys((stage, name) for stage, name, *_ in ordered))
    columns = [[int(row[place] * MS) for row in ordered] for place in (2, 3)]
    threads = [row[4] for row in ordered]
    value = [int((row[3] - row[2]) * MS) if row[0] == "cpu" else 0 for row in ordered]
    number = np.array([names.index(row[:2]) for row in ordered])
    stage = np.array([row[0] for row in ordered])
    integers = [np.array(column, np.int64) for column in (*columns, threads, value, [0] * len(ordered))]
    return Calls(1, ProcessFacts((), tuple(names)), stage, number, *integers)


def shares(calls: Calls) -> dict[tuple[str, str], float]:
    """The parts in ms per frame."""
    return {(part.stage, part.name): round(part.ns / MS, 6) for part in parts_of([calls])}


def frame(*inside: Row) -> Calls:
    """A frame of 20 ms: decoded until 2, inferred from 10 to 14, done at 18; the thread sleeps until 30."""
    return calls_of(
        ("decode", "read", 0, 2, MAIN), ("infer", "run", 10, 14, MAIN), ("wait", "time.sleep", 18, 30, MAIN), *inside
    )


def test_calls_within_a_stage_are_parts_and_the_remainder_is_that_of_no_call() -> None:
    """Eight milliseconds of preparation, three of them in a call."""
    parts = shares(frame(("prepare", "resize", 3, 6, MAIN)))
    assert parts["decode", "read"] == 2
    assert parts["prepare", "resize"] == 3
    assert parts["prepare", ""] == 5
    assert parts["infer", "run"] == 4
    assert parts["finish", ""] == 4


def test_lines_share_what_is_in_no_call_by_their_samples() -> None:
    """Three samples of one line, one of another; one within a call and one of another thread count for nothing."""
    samples: list[Row] = [("line", "app.py:7", at, at, MAIN) for at in (6.5, 7, 8)]
    samples += [("line", "app.py:9", 9, 9, MAIN), ("line", "app.py:1", 4, 4, MAIN), ("line", "x.py:1", 7.5, 7.5, OTHER)]
    parts = shares(frame(("prepare", "resize", 3, 6, MAIN), *samples))
    assert parts["prepare", "app.py:7"] == 3.75
    assert parts["prepare", "app.py:9"] == 1.25


def test_a_sample_that_was_let_in_late_names_no_line() -> None:
    """Two of four came after 2 ms: the thread had gone on from where it was. One after the interval of the lock is."""
    samples: list[Row] = [("line", "app.py:7", 15, 15, MAIN), ("line", "app.py:8", 15, 17, MAIN)]
    parts = shares(frame(*samples))
    assert parts["finish", "app.py:7"] == 2
    assert parts["finish", ""] == 2
    assert ("finish", "app.py:8") not in parts
    assert ("finish", "app.py:8") in shares(frame(("line", "app.py:8", 12, 17, MAIN)))


def test_collections_between_calls_are_parts() -> None:
    """Those within a call belong to it."""
    parts = shares(frame(("gc", "gc", 15, 17, MAIN), ("gc", "gc", 11, 12, MAIN)))
    assert parts["finish", "gc"] == 2
    assert parts["infer", "run"] == 4
    assert ("infer", "gc") not in parts


def test_what_lies_between_two_frames_of_a_thread_is_told_apart() -> None:
    """The sleep of twelve milliseconds, once for two frames."""
    second: list[Row] = [
        ("decode", "read", 30, 32, MAIN),
        ("infer", "run", 40, 44, MAIN),
        ("wait", "time.sleep", 48, 60, MAIN),
    ]
    assert shares(frame(*second))["between", "time.sleep"] == 6


def test_a_stall_leaves_the_period_as_it_is() -> None:
    """Five frames, the fourth of which comes 100 ms late."""
    rows: list[Row] = []
    for at in (0, 20, 40, 160, 180):
        rows += [("decode", "read", at, at + 2, MAIN), ("infer", "run", at + 5, at + 9, MAIN)]
    assert period([calls_of(*rows)]) == 20 * MS
    assert period([calls_of(*rows[:2])]) == 0


def test_a_thread_without_frames_that_computes_is_beside_them() -> None:
    """Where it was mostly, and its share of a core; one that rests is none."""
    busy: list[Row] = [("cpu", "cpu", 0, 20, OTHER), *[("line", "app.py:3 watch", at, at + 6, OTHER) for at in (1, 8)]]
    parts = {part.name: part for part in parts_of([frame(*busy)]) if part.stage == "beside"}
    assert parts["app.py:3 watch"].ns == pytest.approx(1e9)
    assert lock_wait([frame(*busy)]) == 6 * MS
    assert not [part for part in parts_of([frame()]) if part.stage == "beside"]


def test_threads_of_a_process_that_infers_nothing_are_beside_no_frame() -> None:
    """A program that starts the one with the frames computes and samples late: it has another interpreter lock."""
    busy: list[Row] = [("cpu", "cpu", 0, 20, OTHER), *[("line", "starts.py:3", at, at + 6, OTHER) for at in (1, 8)]]
    processes = [frame(("line", "app.py:1", 15, 15, MAIN)), calls_of(*busy)]
    assert not [part for part in parts_of(processes) if part.stage == "beside"]
    assert lock_wait(processes) == 0
