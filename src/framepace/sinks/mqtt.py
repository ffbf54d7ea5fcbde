"""MQTT: each result as a message, by paho-mqtt (the extra 'mqtt').

At least once with quality of service 1, the default: what the broker has not confirmed is published again.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from framepace.errors import SinkError, SinkUnavailable, UsageError
from framepace.facts.running import Result
from framepace.sinks.base import ResultSink
from framepace.sinks.records import record
from framepace.sinks.sinktext import SinkText, is_host

LIMIT_S = 10.0  # for the broker to answer
_KEEPALIVE_S = 30
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_LATER = frozenset({"Server unavailable", "Server busy", "Unspecified error", "Use another server"})
_SOURCE = "{source}"
_HOW = "mqtt://host/topic, or mqtts://user:password@host:port/topic/{source}"


class Mqtt(ResultSink):
    """Publishes results under a topic, in which '{source}' stands for the name of the source."""

    def __init__(self, text: SinkText) -> None:
        text.check_options(("qos", "retain", "limit"))
        self.name = text.name
        self._qos = int(text.choice("qos", ("1", "0", "2")))
        self._retain = text.choice("retain", ("no", "yes")) == "yes"
        self._limit_s = text.seconds("limit", LIMIT_S)
        self._host, self._port, self._user, self._password, self._topic = _address(text)
        self._has_tls = text.kind == "mqtts"
        self._client: Any = None
        self._refusal: Exception | None = None
        self._paho = _library()

    def open(self) -> None:
        """Connect, and wait for the broker's answer. Raises SinkError where it refuses, else SinkUnavailable."""
        answered = threading.Event()
        self._refusal = None
        self._client = self._new_client(answered)
        try:
            self._client.connect(self._host, self._port, keepalive=_KEEPALIVE_S)
        except OSError as error:
            raise self._gone(error.strerror or error) from error
        self._client.loop_start()
        if not answered.wait(self._limit_s):
            raise self._gone(f"no answer in {self._limit_s:g} s")
        if self._refusal is not None:
            raise self._refusal

    def _new_client(self, answered: threading.Event) -> Any:
        client = self._paho.Client(self._paho.CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        client.on_connect = lambda _client, _data, _flags, reason, _properties: self._connected(reason, answered)
        if self._user is not None:
            client.username_pw_set(self._user, self._password)
        if self._has_tls:
            client.tls_set()
        return client

    def write(self, results: Sequence[Result]) -> None:
        """Publish all, and wait until the broker has confirmed them. Raises SinkUnavailable, SinkError."""
        messages = [self._published(result) for result in results]
        for message in messages:
            try:
                message.wait_for_publish(self._limit_s)
            except RuntimeError as error:
                raise self._gone(error) from error
            if not message.is_published():
                raise self._gone(f"no confirmation in {self._limit_s:g} s")

    def close(self) -> None:
        """Say goodbye and end the client's thread."""
        client = self._client
        self._client = None
        if client is not None:
            client.disconnect()
            client.loop_stop()

    def _published(self, result: Result) -> Any:
        topic = self._topic.replace(_SOURCE, _without_wildcards(result.source))
        message = self._client.publish(topic, msgspec.json.encode(record(result)), self._qos, self._retain)
        if message.rc != self._paho.MQTT_ERR_SUCCESS:
            raise self._gone(self._paho.error_string(message.rc))
        return message

    def _connected(self, reason: Any, answered: threading.Event) -> None:
        if reason.is_failure:
            self._refusal = self._refused(str(reason))
        answered.set()

    def _refused(self, reason: str) -> SinkError:
        if reason in _LATER:
            return self._gone(reason)
        fix = "correct the user and the password of the address, or the broker's access list"
        return SinkError("the MQTT broker refuses the connection", got=f"{self.name}: {reason}", fix=fix)

    def _gone(self, reason: object) -> SinkUnavailable:
        fix = "start the broker, or correct the address"
        return SinkUnavailable("the MQTT broker is not reached", got=f"{self.name}: {reason}", fix=fix)


def _address(text: SinkText) -> tuple[str, int, str | None, str | None, str]:
    """Host, port, user, password and topic. Raises UsageError."""
    try:
        address = urlsplit(text.place)
        port = address.port or _PORTS[text.kind]
        topic = unquote(address.path[1:])
    except ValueError:
        topic = ""
    if not topic or not address.hostname or not is_host(address.hostname) or "+" in topic or "#" in topic:
        raise UsageError(
            "the MQTT address has no host, no topic, or a wildcard in it",
            got=text.name,
            expected=_HOW,
            fix="correct it",
        )
    user = None if address.username is None else unquote(address.username)
    password = None if address.password is None else unquote(address.password)
    return address.hostname, port, user, password, topic


def _without_wildcards(source: str) -> str:
    """A source's name as one level of a topic."""
    return "".join("_" if letter in "+#/\0" else letter for letter in source)


def _library() -> Any:
    try:
        import paho.mqtt.client as paho
    except ImportError as error:
        fix = "install it: pip install 'framepace[mqtt]'"
        raise UsageError("MQTT needs the package paho-mqtt, which is not installed", got=error, fix=fix) from error
    return paho
