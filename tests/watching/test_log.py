"""The log of a run: each change once, losses per interval, as JSON or as lines."""

from __future__ import annotations

import io
import json
import threading
from datetime import datetime, timezone
from typing import Any

import pytest
from msgspec.structs import replace

from framepace.facts.running import RunStatus
from framepace.watching.events import Changes, Event
from framepace.watching.log import JsonLog, TextLog
from framepace.watching.looking import looking
from tests.doubles.cameras import SECRET, ScriptedRun, with_note

NOON = datetime(2026, 11, 29, 12, tzinfo=timezone.utc)


def names(events: list[Event]) -> list[str]:
    """What kinds of events there are."""
    return [event.name for event in events]


def whole_log(seconds: int, cameras: int = 3) -> list[dict[str, Any]]:
    """The JSON lines of a run of so many seconds."""
    out = io.StringIO()
    run = ScriptedRun(cameras)
    with JsonLog(out, lambda: NOON) as log:
        log(run.status())
        for _ in range(seconds):
            log(run.step())
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_each_change_is_told_once() -> None:
    """A camera is lost and comes back, a sink fails and recovers, a measure comes and goes: one event each."""
    told = [event["event"] for event in whole_log(8)]
    once = ("run.started", "sink.failing", "sink.recovered", "run.degraded", "run.recovered", "run.ended")
    assert [told.count(name) for name in once] == [1] * len(once)
    assert told.count("source.state") == 2


def test_a_line_is_an_object_that_says_when_and_what() -> None:
    """Time in UTC, level, event, a sentence, and the fields of the event."""
    lost = next(event for event in whole_log(3) if event["event"] == "source.state")
    assert lost == {
        "time": "2026-11-29T12:00:00.000Z",
        "level": "error",
        "event": "source.state",
        "text": "source yard is lost: connection refused; tried again in 4 s",
        "source": "yard",
        "state": "lost",
        "before": "live",
        "note": "connection refused; tried again in 4 s",
    }


def test_losses_of_all_intervals_are_the_losses_of_the_run() -> None:
    """What was dropped is told per interval, the rest at the end: together it is what the totals say."""
    log = whole_log(25)
    dropped = [event["dropped"]["buffer full"] for event in log if event["event"] == "source.dropped"]
    ended = log[-1]
    assert len(dropped) == 3
    assert sum(dropped) + 2 == ended["sources"][2]["dropped"]["buffer full"]  # two were before the first look


def test_a_source_that_was_added_again_counts_from_nothing() -> None:
    """Its counts are lower than before, and no loss is negative."""
    changes = Changes(losses_s=1.0)
    run = ScriptedRun(3)
    changes.since(run.step(20))
    again = replace(ScriptedRun(3).status(), seconds=40.0)
    events = changes.since(again)
    assert [event.fields["dropped"] for event in events if event.name == "source.dropped"] == [{"buffer full": 2}]


def test_sources_that_come_and_go_and_change_their_size() -> None:
    """Added, removed, other pictures, and a loss so short that no look saw it."""
    changes = Changes()
    one, three = ScriptedRun(1).status(), ScriptedRun(3).status()
    changes.since(three)
    assert names(changes.since(one)) == ["source.removed", "source.removed"]
    gate = replace(one.sources[0], size=(2160, 3840), reconnections=1)
    assert names(changes.since(replace(one, sources=(gate,)))) == ["source.reconnected", "source.size"]
    assert names(changes.since(replace(three, sources=(gate, *three.sources[1:])))) == ["source.added"] * 2
    assert names(changes.since(with_note(three, "the clock was set"))) == ["source.size", "run.note"]


def test_a_camera_that_is_lost_before_the_first_look_is_told_with_its_reason() -> None:
    """Models load for seconds, in which a wrong address has failed already: the log says so all the same."""
    status = ScriptedRun(2).status()
    gate = replace(status.sources[0], state="lost", note="404 Not Found")
    events = Changes().since(replace(status, sources=(gate, *status.sources[1:])))
    assert names(events) == ["run.started", "source.state"]
    assert events[1].text == f"source {gate.name} is lost: 404 Not Found"
    assert events[1].level == "error"


def test_a_camera_that_is_lost_again_is_not_said_to_be_well() -> None:
    """It was connected between two looks, and is lost at both."""
    status = ScriptedRun(1).status()
    before = replace(status.sources[0], state="lost")
    changes = Changes()
    changes.since(replace(status, sources=(before,)))
    after = replace(before, reconnections=before.reconnections + 1)
    (event,) = changes.since(replace(status, sources=(after,)))
    assert event.text == f"source {before.name} was connected again and is lost"


def test_nothing_is_told_of_a_run_that_nobody_looked_at() -> None:
    """A run that fails before its first status ends without events."""
    assert Changes().end() == []


def test_the_text_log_has_a_line_per_event_and_one_per_interval() -> None:
    """Lines begin with the time of day; a name with a line end makes no line of its own."""
    out = io.StringIO()
    run = ScriptedRun(3)
    run.names[1] = "yard\n12:00:00 forged"
    with TextLog(out, lambda: NOON, seconds=5.0) as log:
        for _ in range(10):
            log(run.step())
    lines = out.getvalue().splitlines()
    assert all(line[2] == ":" and line[5] == ":" for line in lines)
    assert sum("sources are live" in line for line in lines) == 2
    assert "ended after 0:00:11: in 90.0 fps" in lines[-1]
    assert not [line for line in lines if "forged" in line[:25]]


def test_no_log_has_a_secret() -> None:
    """Addresses and notes are written without their passwords."""
    json_log, text_log = io.StringIO(), io.StringIO()
    run = ScriptedRun(1)
    for log in (JsonLog(json_log), TextLog(text_log)):
        with log:
            log(run.status())
            log(ScriptedRun(3).step())
            log(with_note(run.step(), f"rtsp://admin:{SECRET}@10.0.0.1/stream"))
    assert "rtsp://***@10.0.0.1/stream" in json_log.getvalue()
    assert SECRET not in json_log.getvalue() + text_log.getvalue()


class Counting:
    """A watcher that releases a semaphore at each look."""

    def __init__(self) -> None:
        self.looks = threading.Semaphore(0)
        self.seen: list[RunStatus] = []
        self.open = False

    def __call__(self, status: RunStatus) -> None:
        """Note it."""
        assert self.open
        self.seen.append(status)
        self.looks.release()

    def __enter__(self) -> Counting:
        self.open = True
        return self

    def __exit__(self, *ended: object) -> None:
        self.open = False


def test_watchers_look_at_once_regularly_and_at_the_end() -> None:
    """The last look is after the block, and the watcher is left after it."""
    run = ScriptedRun(1)
    watcher = Counting()
    with looking(run.step, [watcher], interval_s=0.001):
        for _ in range(3):
            assert watcher.looks.acquire(timeout=30)
        run.step(1000)
    assert watcher.seen[-1].seconds > 1000
    assert not watcher.open


def fail_while_watched(watcher: Counting) -> None:
    """Raise after the first look."""
    with looking(ScriptedRun(1).step, [watcher], interval_s=60.0):
        assert watcher.looks.acquire(timeout=30)
        raise ValueError("broken")


def test_a_run_that_fails_is_still_seen_to_its_end() -> None:
    """An error inside goes on, after the last look."""
    watcher = Counting()
    with pytest.raises(ValueError, match="broken"):
        fail_while_watched(watcher)
    assert len(watcher.seen) == 2
