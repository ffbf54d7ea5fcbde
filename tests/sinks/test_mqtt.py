"""MQTT against a real broker, mosquitto, in a process of its own."""

from __future__ import annotations

import json
import queue
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from framepace.clock.system import SystemClock
from framepace.errors import SinkError, SinkUnavailable
from framepace.sinks.mqtt import Mqtt
from framepace.sinks.named import queued_sink
from framepace.sinks.sinktext import parse
from tests.doubles.services import Broker, broker, free_port
from tests.doubles.sinks import result

LIMIT_S = 20.0
Messages: TypeAlias = "queue.Queue[tuple[str, Any]]"


@contextmanager
def subscriber(port: int, topic: str, password: str | None = None) -> Iterator[Messages]:
    """The messages under a topic as they come."""
    messages: Messages = queue.Queue()
    subscribed: queue.Queue[int] = queue.Queue()
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, message: messages.put((message.topic, json.loads(message.payload)))
    client.on_subscribe = lambda _client, _data, number, _codes, _properties: subscribed.put(number)
    if password is not None:
        client.username_pw_set("anna", password)
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.subscribe(topic, qos=1)
    subscribed.get(timeout=LIMIT_S)
    try:
        yield messages
    finally:
        client.disconnect()
        client.loop_stop()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Broker]:
    """A broker that lets everybody in."""
    with broker(tmp_path) as one:
        yield one


def test_a_result_is_a_message_under_the_topic_of_its_source(running: Broker) -> None:
    """In order, as JSON; letters that mean something in topics are replaced in names of sources."""
    with subscriber(running.port, "site/#") as messages:
        queued = queued_sink(f"mqtt://127.0.0.1:{running.port}/site/{{source}}/results", SystemClock(), {})
        queued.start()
        for number in range(20):
            queued.put(result(number))
        queued.put(result(0, source="gate/#1"))
        assert queued.close(limit_s=LIMIT_S).written == 21
        got = [messages.get(timeout=LIMIT_S) for _ in range(21)]
    assert [body["number"] for topic, body in got[:20] if topic == "site/door/results"] == list(range(20))
    assert got[20][0] == "site/gate__1/results"


def test_a_wrong_password_is_refused_at_the_start_and_never_shown(tmp_path: Path) -> None:
    """The right one, which holds letters of addresses, is taken."""
    with broker(tmp_path, password="p@ss/w0rd") as one:
        with pytest.raises(SinkError, match="refuses the connection") as error:
            queued_sink(f"mqtt://anna:hunter2@127.0.0.1:{one.port}/t", SystemClock(), {}).start()
        assert not isinstance(error.value, SinkUnavailable)
        assert "hunter2" not in str(error.value)
        queued = queued_sink(f"mqtt://anna:p%40ss%2Fw0rd@127.0.0.1:{one.port}/t", SystemClock(), {})
        queued.start()
        queued.put(result())
        assert queued.close(limit_s=LIMIT_S).written == 1


def test_a_broker_that_went_away_and_came_back_gets_what_waited(running: Broker) -> None:
    """While it is gone nothing is lost, and it is told; afterwards the results come in order."""
    sink = Mqtt(parse(f"mqtt://127.0.0.1:{running.port}/t#limit=5", {}))
    sink.open()
    sink.write([result(0)])
    running.kill()
    with pytest.raises(SinkUnavailable, match="not reached"):
        sink.write([result(1)])
    sink.close()
    with pytest.raises(SinkUnavailable, match="Connection refused"):
        sink.open()
    sink.close()
    running.start()
    with subscriber(running.port, "t") as messages:
        sink.open()
        sink.write([result(1), result(2)])
        assert [messages.get(timeout=LIMIT_S)[1]["number"] for _ in range(2)] == [1, 2]
    sink.close()


def test_a_broker_that_hangs_is_given_up(running: Broker) -> None:
    """No confirmation within the limit; one that takes a connection and answers nothing as well."""
    sink = Mqtt(parse(f"mqtt://127.0.0.1:{running.port}/t#limit=300ms", {}))
    sink.open()
    running.hang()
    with pytest.raises(SinkUnavailable, match="no confirmation"):
        sink.write([result(0)])
    sink.close()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sink = Mqtt(parse(f"mqtt://127.0.0.1:{silent.getsockname()[1]}/t#limit=300ms", {}))
        with pytest.raises(SinkUnavailable, match=r"no answer in 0\.3 s"):
            sink.open()
        sink.close()


def test_a_broker_that_is_not_there_ends_no_run() -> None:
    """The run begins, what comes waits, and at its end is counted as dropped, with the reason."""
    queued = queued_sink(f"mqtt://127.0.0.1:{free_port()}/t", SystemClock(), {})
    queued.start()
    queued.put(result())
    status = queued.close(limit_s=LIMIT_S)
    assert (status.written, status.dropped) == (0, 1)
    assert "Connection refused" in status.note
