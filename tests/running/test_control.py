"""Sources from a file and over the control socket."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepace.errors import UsageError
from framepace.facts.running import RunStatus, SourceSpec
from framepace.running.control import ControlSocket, answer, ask
from framepace.running.options import Options
from framepace.running.run import Run
from framepace.running.sourcesfile import SourcesFile
from framepace.running.specs import changes, load_sources, spec_of
from tests.running.rtsp import of, until
from tests.running.runs import plan

STATUS = RunStatus(plan=("m",), began=0.0, seconds=1.0, target_ms=None, sources=())


class Noted:
    """A run that only notes what it is asked."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.refuses: str | None = None  # an address
        self.gone: str | None = None  # the name of a source that was removed
        self.specs: list[SourceSpec] = []  # as they were changed
        self.sources = [SourceSpec(name="gate", address="rtsp://x/9", every=2, priority=5)]

    def add(self, spec: SourceSpec) -> None:
        """Note it; there can be no source 'twice'."""
        if spec.name == "twice" or spec.address == self.refuses:
            raise UsageError("there is a source of that name", got=spec.address)
        self.done.append(("add", spec.name, spec.address))

    def change(self, spec: SourceSpec) -> None:
        """Note it."""
        if spec.address == self.refuses:
            raise UsageError("the address cannot be one", got=spec.address)
        self.done.append(("change", spec.name, spec.every))
        self.specs.append(spec)

    def remove(self, name: str) -> None:
        """Note it."""
        if name == self.gone:
            raise UsageError("there is no such source", got=name)
        self.done.append(("remove", name))

    def status(self) -> RunStatus:
        """One without sources."""
        return STATUS

    def record(self, why: str) -> Path:
        """Note it."""
        self.done.append(("record", why))
        return Path("somewhere")

    def stop(self) -> None:
        """Note it."""
        self.done.append("stop")

    def note(self, text: str) -> None:
        """Note it."""
        self.done.append(("note", text))


def test_orders_over_the_socket_are_done_and_answered(tmp_path: Path) -> None:
    """All of them, by the client that the command uses; the socket is its user's alone, and gone at the end."""
    run = Noted()
    path = tmp_path / "control"
    with ControlSocket(path, run):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        ask(path, {"do": "add", "source": {"name": "a", "address": "rtsp://x/1"}})
        ask(path, {"do": "change", "source": {"name": "a", "address": "rtsp://x/1", "every": 4}})
        assert ask(path, {"do": "status"})["status"]["plan"] == ["m"]
        assert ask(path, {"do": "record"})["recording"] == "somewhere"
        ask(path, {"do": "remove", "name": "a"})
        ask(path, {"do": "stop"})
        with pytest.raises(UsageError, match="another run listens"):
            ControlSocket(path, run)
    assert run.done == [
        ("add", "a", "rtsp://x/1"), ("change", "a", 4), ("record", "it was asked for"), ("remove", "a"), "stop",
    ]  # fmt: skip
    assert not path.exists()
    with pytest.raises(UsageError, match="no run answers"):
        ask(path, {"do": "status"})


def test_fields_of_a_source_are_changed_without_its_address(tmp_path: Path) -> None:
    """The others stay, unlike where the source is named whole; a source that is not there, and nothing, are refused."""
    run = Noted()
    path = tmp_path / "control"
    with ControlSocket(path, run):
        ask(path, {"do": "change", "name": "gate", "fields": {"every": 4, "max_age_ms": 300}})
        with pytest.raises(UsageError, match="no such source") as unknown:
            ask(path, {"do": "change", "name": "gat", "fields": {"every": 4}})
        nothing: tuple[Any, ...] = ({}, None, 7)
        for fields in nothing:
            with pytest.raises(UsageError, match="changes nothing"):
                ask(path, {"do": "change", "name": "gate", "fields": fields})
        with pytest.raises(UsageError, match="cannot be so"):
            ask(path, {"do": "change", "name": "gate", "fields": {"evry": 4}})
    assert "gate" in str(unknown.value.expected)
    assert run.specs == [SourceSpec(name="gate", address="rtsp://x/9", every=4, priority=5, max_age_ms=300)]


def test_a_refusal_is_an_answer_without_secrets(tmp_path: Path) -> None:
    """What, got and what to do, as the command shows them; the connection lives on."""
    path = tmp_path / "control"
    with ControlSocket(path, Noted()):
        with pytest.raises(UsageError, match="of that name") as error:
            ask(path, {"do": "add", "source": {"name": "twice", "address": "rtsp://anna:geheim@x/1"}})
        assert "geheim" not in str(error.value)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            lines = connection.makefile("rwb", buffering=0)
            for order, ok in ((b"{}\n", False), (b"no json\n", False), (b'{"do": "status"}\n', True)):
                lines.write(order)
                assert json.loads(lines.readline())["ok"] is ok


def test_a_socket_that_a_killed_run_left_is_taken_over(tmp_path: Path) -> None:
    """Nobody listens there any more; a file that is no socket stays as it is."""
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with ControlSocket(path, Noted()):
        ask(path, {"do": "status"})
    path.write_text("a diary")
    with pytest.raises(UsageError, match="there is a file"):
        ControlSocket(path, Noted())
    assert path.read_text() == "a diary"


def test_clients_that_break_off_or_send_without_end_hold_nobody_up(tmp_path: Path) -> None:
    """Half a line, a line of 2 MiB, and ten that say nothing: the next one is answered."""
    path = tmp_path / "control"
    with ControlSocket(path, Noted()):
        idle = [socket.socket(socket.AF_UNIX) for _ in range(10)]
        for connection in idle:
            connection.connect(str(path))
        idle[0].sendall(b'{"do": "sta')
        idle[0].close()
        threading.Thread(target=_send, args=(idle[1], b"x" * (2 << 20)), daemon=True).start()
        assert ask(path, {"do": "status"})["ok"]
        for connection in idle[1:]:
            connection.close()


def _send(connection: socket.socket, data: bytes) -> None:
    try:
        connection.sendall(data)
    except OSError:
        return


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.binary(max_size=200)
    | st.fixed_dictionaries(
        {"do": st.sampled_from(["add", "remove", "change", "status"])},
        optional={"source": json_values, "name": json_values | st.just("gate"), "fields": json_values},
    ).map(lambda order: json.dumps(order).encode())
)
def test_whatever_is_sent_is_answered(line: bytes) -> None:
    """With ok, or with what is wrong; nothing is raised."""
    reply = answer(Noted(), line)
    assert reply["ok"] is True or reply["error"]["what"]


def test_sources_in_a_file(tmp_path: Path) -> None:
    """A list, or a mapping with defaults; addresses alone are sources too."""
    path = tmp_path / "cameras.yaml"
    path.write_text("defaults: {every: 2}\nsources:\n- rtsp://x/1\n- {name: b, address: rtsp://x/2, every: adaptive}\n")
    first, second = load_sources(path)
    assert (first.name, first.address, first.every) == ("source-1", "rtsp://x/1", 2)
    assert (second.name, second.every) == ("b", "adaptive")
    path.write_text("- door=rtsp://x/1\n")
    assert load_sources(path)[0].name == "door"


@pytest.mark.parametrize(
    "text",
    ["{", "a: 1", "- 7", "sources: 3", "- {name: a}", "- {name: a, address: x, every: 0}", "- {name: a, adress: x}",
     "- a=x\n- a=y", "defaults: [1]\nsources: []", "\x00", "&a [*a]"],
)  # fmt: skip
def test_a_file_that_holds_no_sources_is_refused(tmp_path: Path, text: str) -> None:
    """With a sentence."""
    path = tmp_path / "cameras.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        load_sources(path)
    assert error.value.fix


def test_options_of_all_sources_are_of_those_in_the_file_too(tmp_path: Path) -> None:
    """Where neither the source nor the file's defaults say otherwise, at first and with every change."""
    path = tmp_path / "cameras.yaml"
    path.write_text("defaults: {loop: true}\nsources:\n- a=rtsp://x/1\n- {name: b, address: 'rtsp://x/2', every: 2}\n")
    watched = SourcesFile(path, {"every": 4, "loop": False})
    assert [(spec.every, spec.loop) for spec in watched.sources] == [(4, True), (2, True)]
    run = Noted()
    _replace(path, "- {name: b, address: 'rtsp://x/2', every: 2}\n- a=rtsp://x/9\n")
    watched.look(run)
    assert run.done == [("change", "b", 2), ("change", "a", 4)]


def test_what_changes_in_the_file_changes_in_the_run(tmp_path: Path) -> None:
    """Removed first, then changed, then added; a file that cannot be read changes nothing, and is told."""
    path = tmp_path / "cameras.yaml"
    path.write_text("- a=rtsp://x/1\n- b=rtsp://x/2\n- c=rtsp://x/3\n")
    watched = SourcesFile(path)
    run = Noted()
    watched.look(run)
    assert run.done == []
    _replace(path, "- b=rtsp://x/2\n- {name: c, address: 'rtsp://x/3', every: 3}\n- d=rtsp://x/4\n")
    watched.look(run)
    assert run.done == [("remove", "a"), ("change", "c", 3), ("add", "d", "rtsp://x/4")]
    run.done.clear()
    _replace(path, "- {name: b\n")
    watched.look(run)
    watched.look(run)
    assert [kind for kind, _ in run.done] == ["note"]
    run.done.clear()
    _replace(path, "- b=rtsp://x/2\n")
    watched.look(run)
    assert run.done == [("remove", "c"), ("remove", "d")]


def test_what_the_file_removes_may_be_gone_already(tmp_path: Path) -> None:
    """Somebody removed it by the socket: nothing is told, and what else has changed is done."""
    path = tmp_path / "cameras.yaml"
    path.write_text("- a=rtsp://x/1\n- b=rtsp://x/2\n")
    watched = SourcesFile(path)
    run = Noted()
    run.gone = "a"
    _replace(path, "- b=rtsp://x/2\n- c=rtsp://x/3\n")
    watched.look(run)
    assert run.done == [("add", "c", "rtsp://x/3")]


def test_what_is_refused_stays_as_it_was_and_is_tried_again_with_the_next_change(tmp_path: Path) -> None:
    """An address of a variable that is not set: nothing that runs is touched, and the source is named."""
    path = tmp_path / "cameras.yaml"
    path.write_text("- a=rtsp://x/1\n")
    watched = SourcesFile(path)
    run = Noted()
    run.refuses = "rtsp://x/2"
    _replace(path, "- a=rtsp://x/2\n- b=rtsp://x/2\n")
    watched.look(run)
    assert [(kind, what.partition(":")[0]) for kind, what, *_ in run.done] == [
        ("note", "the source 'a'"),
        ("note", "the source 'b'"),
    ]
    run.done.clear()
    run.refuses = None
    _replace(path, "- a=rtsp://x/2\n- b=rtsp://x/2\n\n")
    watched.look(run)
    assert run.done == [("change", "a", 1), ("add", "b", "rtsp://x/2")]


def test_a_source_is_changed_only_where_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose new address cannot be one goes on with the old one, and takes no number."""
    monkeypatch.delenv("NOT_SET", raising=False)
    run = Run(plan(), [SourceSpec(name="a", address="synthetic", loop=True)], options=Options(stays=True)).start()
    before = until(run, lambda status: of(status, "a").taken > 0)
    for change, name in ((run.change, "a"), (run.add, "b")):
        with pytest.raises(UsageError, match="variable"):
            change(SourceSpec(name=name, address="rtsp://${NOT_SET}@x/1"))
    after = until(run, lambda status: of(status, "a").taken > of(before, "a").taken + 5)
    assert [(source.name, source.state) for source in after.sources] == [("a", "live")]
    run.stop()
    run.wait(30)


def test_yaml_that_is_none_is_told_with_its_line(tmp_path: Path) -> None:
    """And without a word of what stands in it."""
    path = tmp_path / "cameras.yaml"
    path.write_text("sources:\n  - {name: a, address: [}\n")
    with pytest.raises(UsageError) as error:
        load_sources(path)
    assert "line 2" in str(error.value.got)


def _replace(path: Path, text: str) -> None:
    """As editors do."""
    other = path.with_suffix(".new")
    other.write_text(text)
    os.replace(other, path)


names = st.dictionaries(st.sampled_from("abcde"), st.integers(1, 3), max_size=5)


@given(names, names)
def test_changes_lead_from_one_set_to_the_other(before: dict[str, int], after: dict[str, int]) -> None:
    """What is removed, changed and added makes the one the other; what is the same in both is left alone."""
    one, other = (
        [SourceSpec(name=name, address="x", every=n) for name, n in specs.items()] for specs in (before, after)
    )
    todo = changes(one, other)
    made = {spec.name: spec for spec in one if spec.name not in todo.remove}
    made |= {spec.name: spec for spec in (*todo.add, *todo.change)}
    assert made == {spec.name: spec for spec in other}
    assert not {spec.name for spec in todo.change} & {name for name in before if before[name] == after.get(name)}


def test_a_name_before_an_address() -> None:
    """NAME=ADDRESS; an address with '=' in its query is no name."""
    assert spec_of("door=rtsp://x/1").name == "door"
    plain = spec_of("http://x/live?user=anna", 3)
    assert (plain.name, plain.address) == ("source-3", "http://x/live?user=anna")
