"""Sinks by the text that names them."""

from __future__ import annotations

from pathlib import Path

import pytest

from framepace.clock.system import SystemClock
from framepace.errors import UsageError
from framepace.sinks.base import ResultSink
from framepace.sinks.named import queued_sink, register, sink_kinds
from framepace.sinks.sinktext import SinkText, parse
from tests.doubles.sinks import KeptResults, result


def test_the_built_in_sinks_come_by_the_door_of_plug_ins() -> None:
    """All kinds are entry points of the group 'framepace.sinks'."""
    built_in = {"jsonl", "stdout", "http", "https", "parquet", "mqtt", "mqtts", "video", "hls", "rtsp", "rtsps", "call"}
    assert built_in <= set(sink_kinds())


@pytest.mark.parametrize(
    ("text", "kind", "place", "options"),
    [
        ("stdout", "stdout", "", {}),
        ("jsonl:out.jsonl", "jsonl", "out.jsonl", {}),
        ("jsonl:a#b.jsonl", "jsonl", "a#b.jsonl", {}),
        ("jsonl:out.jsonl#rotate=1GB,keep=2", "jsonl", "out.jsonl", {"rotate": "1GB", "keep": "2"}),
        ("https://host:8443/a?b=c", "https", "https://host:8443/a?b=c", {}),
        ("call:module:function", "call", "module:function", {}),
        ("mqtt://host/a/{source}#qos=2", "mqtt", "mqtt://host/a/{source}", {"qos": "2"}),
    ],
)
def test_a_text_is_a_kind_a_place_and_options(text: str, kind: str, place: str, options: dict[str, str]) -> None:
    """Options stand behind '#', which is never part of what is opened; a '#' in a file's name is no option."""
    named = parse(text, {})
    assert (named.kind, named.place, dict(named.options)) == (kind, place, options)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "empty"),
        ("jsonl:", "no kind or no place"),
        (":out", "no kind or no place"),
        ("Jsonl:out", "no kind or no place"),
        ("jsonlines:out", "unknown kind of sink"),
        ("out.jsonl", "unknown kind of sink"),
        ("jsonl:out#rotate=big", "rotate of sink jsonl"),
        ("jsonl:out#rotate=0", "rotate of sink jsonl"),
        ("jsonl:out#rotated=1GB", "unknown option of sink jsonl"),
        ("jsonl:out#rotate=1GB,keep", "no value"),
        ("jsonl:out#queue=0", "queue of sink jsonl"),
        ("jsonl:out#drop=all", "drop of sink jsonl"),
        ("stdout:here", "takes no place"),
        ("video:out.gif", "format is not known"),
        ("http:out", "no host"),
        ("http://host:port/", "no host"),
        ("mqtt://host", "no topic"),
        ("mqtt://host/a/+/b", "wildcard"),
        ("jsonl:${NO_SUCH_FOLDER}/out", "not set"),
        ("parquet:http://host", "is an address"),
    ],
)
def test_a_text_that_names_no_sink_is_a_sentence(text: str, part: str) -> None:
    """Each error says what is wrong, and what to do."""
    with pytest.raises(UsageError, match=part) as error:
        queued_sink(text, SystemClock(), {})
    assert "what to do" in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "http://anna:hunter2@host/hook",
        "http://host/hook?token=hunter2",
        "http://host/hook#token=hunter2",
        "http://host/hook#token=${SECRET}",
        "http://anna:${SECRET}@host/hook",
        "mqtt://anna:hunter2@host/topic",
        "rtsp://anna:hunter2@host/live",
    ],
)
def test_a_secret_of_a_sink_is_never_shown(text: str) -> None:
    """Neither in its name and status nor in what is made of its text; variables are kept by their names."""
    queued = queued_sink(text, SystemClock(), {"SECRET": "hunter2"})
    assert "hunter2" not in f"{queued.name} {queued.status()} {parse(text, {'SECRET': 'hunter2'})}"
    assert "host" in queued.name


def test_queue_and_policy_are_options_of_every_sink() -> None:
    """Two results wait, and what comes then is dropped."""
    sink = KeptResults()

    def make(text: SinkText) -> ResultSink:
        text.check_options(())
        return sink

    register("kept", make)
    queued = queued_sink("kept:here#queue=2,drop=newest", SystemClock(), {})
    for number in range(5):
        queued.put(result(number))
    assert queued.status().dropped == 3
    queued.start()
    queued.close(limit_s=20)
    assert sink.kept == [0, 1]


def test_a_file_is_named_as_it_was_typed(tmp_path: Path) -> None:
    """A path has no secret."""
    assert queued_sink(f"jsonl:{tmp_path}/out.jsonl", SystemClock(), {}).name == f"jsonl:{tmp_path}/out.jsonl"
