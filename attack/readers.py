"""What framepace reads, one entry per kind: how a damaged input of it is made, and what is done with it.

An attempt writes its input into an empty folder and returns what framepace then said or gave, as text. It may raise
FramepaceError; anything else is a finding.
"""

from __future__ import annotations

import json
import random
import shutil
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import framepace
from attack import corpus, mutations
from attack.logs import logs, tables
from attack.orders import ORDERS, SOURCES, Nobody
from attack.results import answers, sinks
from framepace.backends.base import get_backend
from framepace.clock.system import SystemClock
from framepace.errors import FramepaceError
from framepace.redaction import redacted
from framepace.units import NS_PER_MS

_TRACE_FILES = ("meta.json", "requests.parquet", "telemetry.parquet", "requests.journal", "telemetry.journal")
_PICTURES = 3  # read of a video
_REPORT_SHARE = 0.05  # reports take ten times as long as all else


@dataclass(frozen=True)
class Place:
    """Where an attempt works: the corpus, a folder of its own, and its randomness."""

    corpus: Path
    folder: Path
    rng: random.Random

    @property
    def pool(self) -> list[Any]:
        """Values that Hypothesis made."""
        return _pool(self.corpus)

    def copied(self, name: str) -> Path:
        """A file or folder of the corpus, in the attempt's folder."""
        target = self.folder / name
        if (self.corpus / name).is_dir():
            shutil.copytree(self.corpus / name, target)
        else:
            shutil.copyfile(self.corpus / name, target)
        return target


Attempt = Callable[[Place], str]


@lru_cache(maxsize=4)
def _pool(folder: Path) -> list[Any]:
    values: list[Any] = json.loads((folder / corpus.POOL).read_text())
    return values


def onnx(place: Place) -> str:
    """An ONNX file: what is in it, and, where that can be told, loading it and one inference."""
    from framepace.models.spec import inspect, operators

    path = place.copied("model.onnx")
    path.write_bytes(mutations.bytes_of(path.read_bytes(), place.rng))
    spec = inspect(str(path))
    operators(str(path))
    if place.rng.random() < 0.2:
        _infer(path)
    return str(spec)


def _infer(path: Path) -> None:
    """Load the network and run it once."""
    case = framepace.make_case([str(path)], settings={"size": (16, 16), "threads": 1})
    model = case.plan.models[0]
    with closing(get_backend(model.backend).load(model, SystemClock())) as session, closing(session.worker()) as worker:
        worker.staging(0)
        worker.enqueue(0, 1)
        worker.wait(0)


def exported(place: Place) -> str:
    """An exported program: its JSON changed, its members exchanged, or its bytes damaged."""
    from framepace.models.spec import inspect

    path = place.copied("model.pt2")
    if place.rng.random() < 0.5:
        path.write_bytes(mutations.bytes_of(path.read_bytes(), place.rng))
    else:
        path.write_bytes(_changed_archive(path.read_bytes(), place))
    return str(inspect(str(path)))


def _changed_archive(data: bytes, place: Place) -> bytes:
    """The archive with a changed program, and sometimes with odd members."""
    changed = mutations.document(corpus.program(), place.rng, place.pool)
    file = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as before, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            content = before.read(name)
            if name.endswith("model.json"):
                content = _json(changed)
            if place.rng.random() < 0.1:
                content = mutations.bytes_of(content, place.rng)
            after.writestr(name, content)
        if place.rng.random() < 0.1:
            after.writestr(place.rng.choice(("model/models/b.json", "../x", "model/data.pkl", "/etc/x", "x")), b"{}")
    return file.getvalue()


def plan(place: Place) -> str:
    """A plan: changed values, or damaged text; what it makes is checked as a case, shown and saved."""
    import msgspec

    path = place.folder / "plan.yaml"
    if place.rng.random() < 0.3:
        path.write_bytes(mutations.bytes_of((place.corpus / "plan.yaml").read_bytes(), place.rng))
    else:
        changed = mutations.document(_with_address(corpus.PLAN, place.rng), place.rng, place.pool)
        path.write_bytes(msgspec.yaml.encode(changed) if place.rng.random() < 0.5 else _json(changed))
    loaded = framepace.load_plan(path)
    framepace.save_plan(loaded, place.folder / "again.yaml")
    framepace.load_plan(place.folder / "again.yaml")
    text = (place.folder / "again.yaml").read_text()
    if place.rng.random() < 0.3:
        text += str(framepace.make_case([str(path)]).workload)
    return redacted(text)


def _with_address(data: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """The plan, with an address that has a secret as a model."""
    if rng.random() < 0.7:
        return data
    models = [{**data["models"][0], "model": rng.choice(mutations.ADDRESSES)}, *data["models"][1:]]
    return {**data, "models": models}


def trace(place: Place) -> str:
    """A trace with one damaged file; what loads is summarised, compared with itself, and sometimes reported."""
    folder = place.copied(place.rng.choice(("bench", "killed")))
    files = [folder / name for name in _TRACE_FILES if (folder / name).exists()]
    _damage(place, place.rng.choice(files))
    loaded = framepace.load_trace(folder)
    return _questions(place, loaded)


def _damage(place: Place, path: Path) -> None:
    """JSON by its values as often as by its bytes; other files by their bytes."""
    data = path.read_bytes()
    if path.suffix == ".json" and place.rng.random() < 0.8:
        path.write_bytes(_json(mutations.document(json.loads(data), place.rng, place.pool)))
    elif place.rng.random() < 0.03:
        path.unlink()
    else:
        path.write_bytes(mutations.bytes_of(data, place.rng))


def _questions(place: Place, loaded: framepace.Trace) -> str:
    from framepace.reporting.documents import bench_document, dumps

    said = []
    try:
        said.append(dumps(bench_document(framepace.summary(loaded), "trace", loaded.meta.layers)))
        said.append(str(framepace.compare(loaded, loaded).verdict))
    except FramepaceError as error:
        said.append(str(error))
    if place.rng.random() < _REPORT_SHARE:
        said.append(framepace.report([loaded], out=place.folder / "report.html").read_text())
    return "\n".join(said)


def columns(place: Place) -> str:
    """A trace that is whole and whose numbers are odd: what summaries, comparisons and reports make of it."""
    from framepace.testing import make_trace

    latency = [place.rng.choice((0, 1, -5, 9, 2**33)) * NS_PER_MS for _ in range(place.rng.choice((1, 2, 12, 60)))]
    made = make_trace(latency, models=("a", "b")[: place.rng.choice((1, 2))])
    for _ in range(place.rng.choice((1, 2, 3))):
        column = made.requests[place.rng.choice(list(made.requests))]
        rows = slice(None) if place.rng.random() < 0.5 else place.rng.randrange(len(column))
        column[rows] = place.rng.choice((-1, 0, 1, 7, 2**31, 2**62, -(2**63), 2**63 - 1))
    return _questions(place, made)


def log(place: Place) -> str:
    """A log of another program: damaged text, changed records or a damaged table; explained and reported."""
    name, data = place.rng.choice(logs())
    path = place.folder / name
    path.write_bytes(mutations.bytes_of(data, place.rng))
    return str(framepace.explain_log(path))


def loads(place: Place) -> str:
    """A table of loads of another tool, damaged: explained, compared and taken as a number to expect."""
    from framepace.explaining.expect import parse_tool_number
    from framepace.loadtables import compare_loads, explain_loads

    name, data = place.rng.choice(tables())
    path = place.folder / name
    path.write_bytes(mutations.bytes_of(data, place.rng))
    told = str((explain_loads(path), compare_loads(path, path)))
    return told + str(parse_tool_number(str(path), None))


def fleet(place: Place) -> str:
    """A fleet and the capacity of a device, either damaged."""
    from framepace.facts.fleetsize import FLEET_FORMAT

    hosts = [{"name": "a", "devices": 2, "cost": 3.5, "most": 40, "capacity": "a.json"}]
    points = [{"cameras": 2, "holds": True, "p99_ns": {"value": 9e6}}, {"cameras": 3, "holds": False}]
    capacity = {"schema": "framepace.capacity/1", "cameras": 2, "target_fps": 30, "budget_ns": 3e7, "points": points}
    asked = {"format": FLEET_FORMAT, "hosts": hosts}
    is_fleet = place.rng.random() < 0.5
    (place.folder / "a.json").write_bytes(_json(capacity) if is_fleet else _damaged(capacity, place))
    path = place.folder / "fleet.yaml"
    path.write_bytes(_damaged(asked, place) if is_fleet else _json(asked))
    return str(framepace.fleet_capacity(path, place.rng.choice((1, 7, 60))))


def explanation(place: Place) -> str:
    """An explanation, read and reported beside its trace."""
    path = place.copied("explain") / "explanation.json"
    _damage(place, path)
    loaded = framepace.load_explanation(path)
    if place.rng.random() < 0.3:
        traces = [place.folder / "explain" / "stream"]
        return framepace.report(traces, out=place.folder / "report.html", explanation=loaded).read_text()
    return "read"


def tuning(place: Place) -> str:
    """A tuning that another continues: its journal, its primitives, and whose folder it is."""
    from framepace.facts.tuning import Tuning
    from framepace.store import OutputFolder
    from framepace.tuning.journal import PRIMITIVES, TUNING, TuningJournal, load_tuning

    folder = place.copied("tune")
    before: Tuning = load_tuning(folder)
    _damage(place, folder / place.rng.choice((TUNING, TUNING, PRIMITIVES, "folder.json")))
    with OutputFolder(folder, "tuning", case=None):
        journal = TuningJournal(before.goal, before.key or "", before.machine or "", folder)
        number = journal.number_of({"workers": 3})
        journal.change(number, error="none")
        journal.save(before)
    return journal.damaged


def folder(place: Place) -> str:
    """A sweep's or capacity's folder that another run goes on in: its marker, its table, a cell."""
    from framepace.store import OutputFolder, is_trace

    kind = place.rng.choice(("sweep", "capacity"))
    path = place.copied(kind)
    files = sorted(file for file in path.rglob("*.json") if file.is_file())
    _damage(place, place.rng.choice(files))
    with OutputFolder(path, "sweep" if kind == "sweep" else "capacity", case={"x": 1}):
        pass
    for cell in path.iterdir():
        if is_trace(cell):
            framepace.load_trace(cell)
    return "read"


def video(place: Place) -> str:
    """A video file whose bytes are damaged: its first pictures, twice where it loops."""
    from framepace.video.source import open_source

    path = place.copied(place.rng.choice(("video.mp4", "video.ts", "video.avi", "video.mkv")))
    path.write_bytes(mutations.bytes_of(path.read_bytes(), place.rng))
    source = open_source(str(path), loop=place.rng.random() < 0.3)
    try:
        pictures = [source.read() for _ in range(_PICTURES)]
    finally:
        source.close()
    return f"{sum(picture is not None for picture in pictures)} pictures {source.notes}"


def values(place: Place) -> str:
    """What commands and plans take as text: loads, grids, sizes, shapes, settings, addresses."""
    from framepace import values as read
    from framepace.cli import options
    from framepace.facts.settings import SETTINGS

    text = str(mutations.value(place.rng, place.pool))
    if place.rng.random() < 0.6:
        text = place.rng.choice(mutations.NUMBERS)
    takes: tuple[Callable[[], object], ...] = (
        lambda: read.number(text, "--fps", least=0.001),
        lambda: read.duration_s(text, "--seconds"),
        lambda: read.size(text),
        lambda: read.shape(text),
        lambda: read.span(text, "--vary"),
        lambda: read.path(text, "--out"),
        lambda: read.name(text, "name"),
        lambda: options.parse_load(place.rng.choice(options.LOADS) + ":" + text),
        lambda: options.parse_vary([place.rng.choice(list(SETTINGS)) + "=" + text]),
        lambda: framepace.make_case(["null"], settings={place.rng.choice(list(SETTINGS)): text, "backend": "null"}),
    )
    place.rng.choice(takes)()
    return "read"


def live(place: Place) -> str:
    """Live bytes: what a camera sends, damaged; the stream's first pictures."""
    from attack.camera import sending
    from framepace.video.live import LiveStream

    path = place.copied("video.ts")
    path.write_bytes(mutations.bytes_of(path.read_bytes(), place.rng))
    with sending(path.read_bytes()) as address:
        stream = LiveStream(address, SystemClock(), timeout=(2.0, 0.3), patience_s=0.5)
        try:
            pictures = [stream.read() for _ in range(_PICTURES)]
        finally:
            stream.close()
    return f"{sum(picture is not None for picture in pictures)} pictures {stream.notes}"


def sources(place: Place) -> str:
    """The file of sources: its text, or what it says, damaged."""
    from framepace.running.specs import load_sources

    path = place.folder / "cameras.yaml"
    path.write_bytes(_damaged(SOURCES, place))
    return f"{len(load_sources(path))} sources"


def orders(place: Place) -> str:
    """A line to the control socket of a run; the answer."""
    from framepace.running.control import answer

    return str(answer(Nobody(), _damaged(place.rng.choice(ORDERS), place)))


def _damaged(document: Any, place: Place) -> bytes:
    """A document as JSON, in which a value or a byte is wrong."""
    if place.rng.random() < 0.5:
        return mutations.bytes_of(_json(document), place.rng)
    return _json(mutations.document(document, place.rng, place.pool))


def _json(data: Any) -> bytes:
    """As JSON that may hold nan, infinity and texts that are no Unicode."""
    return json.dumps(data, default=str).encode("utf-8", "surrogatepass")


# Inputs of a full run; all others are command lines.
READERS: dict[str, tuple[Attempt, int]] = {
    "onnx": (onnx, 9000),
    "exported": (exported, 8000),
    "plan": (plan, 8000),
    "trace": (trace, 5000),
    "columns": (columns, 1500),
    "log": (log, 4000),
    "loads": (loads, 2500),
    "fleet": (fleet, 2500),
    "explanation": (explanation, 2500),
    "tuning": (tuning, 2500),
    "folder": (folder, 2500),
    "video": (video, 5000),
    "live": (live, 500),
    "values": (values, 5000),
    "sources": (sources, 2500),
    "orders": (orders, 2500),
    "sinks": (sinks, 2500),
    "answers": (answers, 2500),
}
