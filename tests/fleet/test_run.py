"""A run on several engines: what becomes of its sources when engines die, and that every picture is accounted for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from framepace.clock.system import SystemClock
from framepace.errors import BackendError, FramepaceError, HostLost, StoreError, UsageError
from framepace.facts.inputs import Inputs
from framepace.facts.place import Place
from framepace.facts.plan import ModelPlan, Plan, Post
from framepace.facts.running import RunStatus, SourceSpec
from framepace.fleet.places import at_place
from framepace.fleet.run import FleetRun
from framepace.running.options import Options
from framepace.sinks.callback import Function
from framepace.sinks.queued import QueuedSink
from framepace.store import load_trace
from tests.fleet.engines import Collected, FarEngine, LocalEngine, places, plan
from tests.running.videos import video


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One for all tests: what a place carries is predicted once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRAMEPACE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def _cameras(path: str, count: int, **fields: Any) -> list[SourceSpec]:
    return [SourceSpec(name=f"camera-{number}", address=path, **fields) for number in range(count)]


def _run(
    sources: list[SourceSpec], kept: Collected, count: int = 2, make: Any = LocalEngine, **options: Any
) -> FleetRun:
    sink = QueuedSink(Function(kept), SystemClock(), capacity=100_000)
    return FleetRun(plan(), sources, [sink], Options(**options), places=places(count), make=make)


def _assert_accounted(status: RunStatus, kept: Collected) -> None:
    for source in status.sources:
        counted = source.delivered + source.skipped + source.failed + sum(source.dropped.values())
        assert (source.taken, source.waiting) == (counted, 0), source
        assert source.delivered == len(kept.numbers[source.name])
        assert kept.numbers[source.name] == sorted(set(kept.numbers[source.name]))


def test_sources_are_read_to_their_end_by_several_engines(tmp_path: Path) -> None:
    """All pictures of all files come out in order; the run ends by itself."""
    kept = Collected()
    path = video(tmp_path / "v.mp4", pictures=20)
    status = _run(_cameras(path, 4, pace="free"), kept).start().wait(60)
    assert dict(kept.numbers) == {f"camera-{number}": list(range(20)) for number in range(4)}
    _assert_accounted(status, kept)
    assert [engine.sources for engine in status.engines] == [2, 2]


def test_a_killed_engine_loses_no_result_and_doubles_none(tmp_path: Path) -> None:
    """Its sources go on elsewhere with the pictures that nobody counted; the others do not notice."""
    kept = Collected()
    run = _run(_cameras(video(tmp_path / "v.mp4", pictures=90), 4), kept).start()
    kept.wait_for(5, *(f"camera-{number}" for number in range(4)))
    victim = next(source.engine for source in run.status().sources)
    assert victim is not None
    undisturbed = [source.name for source in run.status().sources if source.engine != victim]
    run.kill(victim)
    status = run.wait(60)
    _assert_accounted(status, kept)
    assert {source.taken for source in status.sources} == {90}
    lost = {source.name: source.dropped.get("engine lost", 0) for source in status.sources}
    assert all(lost[name] == 0 for name in undisturbed)
    for name, numbers in kept.numbers.items():
        assert len(numbers) == 90 - sum(next(s for s in status.sources if s.name == name).dropped.values())


def test_the_place_of_a_killed_engine_is_used_again(tmp_path: Path) -> None:
    """Another engine starts there and gets sources back: those that had been there, and no others."""
    kept = Collected()
    sources = _cameras(video(tmp_path / "v.mp4"), 8, loop=True)
    run = _run(sources, kept, stays=True).start()
    others = _at(run, "here share 1")
    run.kill("here share 0")
    while run.status().engines[0].starts < 2 or not _at(run, "here share 0"):
        kept.wait_for(1, *others)
    kept.wait_for(3, *(source.name for source in sources))
    assert set(others) <= set(_at(run, "here share 1"))
    run.stop()
    status = run.wait(60)
    _assert_accounted(status, kept)
    assert all("engine lost" not in source.dropped for source in status.sources if source.name in others)


def _at(run: FleetRun, place: str) -> list[str]:
    return [source.name for source in run.status().sources if source.engine == place]


def test_an_engine_gives_its_sources_away_for_maintenance(tmp_path: Path) -> None:
    """And gets some back when it may; every picture of the moves is accounted for."""
    kept = Collected()
    sources = _cameras(video(tmp_path / "v.mp4"), 8, loop=True)
    run = _run(sources, kept, stays=True).start()
    run.restrict(["here share 1"])
    while len(_at(run, "here share 1")) < 8:
        kept.wait_for(1, "camera-0")
    assert [engine.sources for engine in run.status().engines] == [0, 8]
    run.restrict(None)
    while not _at(run, "here share 0"):
        kept.wait_for(1, "camera-0")
    kept.wait_for(3, *(source.name for source in sources))
    run.stop()
    _assert_accounted(run.wait(60), kept)


@pytest.mark.long
def test_sources_come_go_and_change_on_any_engine(tmp_path: Path) -> None:
    """As in a run of one engine."""
    kept = Collected()
    path = video(tmp_path / "v.mp4")
    run = _run([], kept, stays=True).start()
    run.add(SourceSpec(name="door", address=path, loop=True))
    run.add(SourceSpec(name="yard", address=path, loop=True))
    kept.wait_for(3, "door", "yard")
    run.change(SourceSpec(name="door", address=path, loop=True, every=3))
    kept.wait_for(3, "door")
    run.remove("yard")
    with pytest.raises(UsageError, match="there is no such source"):
        run.remove("yard")
    run.add(SourceSpec(name="yard", address=path, loop=True))
    kept.wait_for(3, "yard")
    run.stop()
    status = run.wait(60)
    _assert_accounted(status, kept)
    assert next(source.skipped for source in status.sources if source.name == "door") > 0


def test_a_plan_that_runs_nowhere_is_an_error_and_one_that_runs_somewhere_a_note(tmp_path: Path) -> None:
    """The first error of an engine ends the run where no other is left; else it says which place is not used."""

    def make(place: Place, plan: Any, options: Options) -> LocalEngine:
        error = BackendError("the model does not fit", got=place.name, fix="take a smaller one")
        return LocalEngine(place, plan, options, error if place.name in refusing else None)

    sources = _cameras(video(tmp_path / "v.mp4", pictures=5), 2, pace="free")
    refusing = {"here share 0", "here share 1"}
    with pytest.raises(FramepaceError, match="the model does not fit"):
        _run(sources, Collected(), make=make).start()
    refusing = {"here share 0"}
    kept = Collected()
    status = _run(sources, kept, make=make).start().wait(60)
    assert status.engines[0].state == "refused"
    assert any("the model does not fit" in note for note in status.notes)
    _assert_accounted(status, kept)


def test_a_run_whose_hosts_have_all_left_ends_with_that(tmp_path: Path) -> None:
    """It does not wait for what cannot come back; a process that died is started again."""

    class Leaving(LocalEngine):
        """Its host leaves when it is killed."""

        def ready(self) -> None:
            """Raise from the second start on."""
            if self.place.name in started:
                raise HostLost("here has left the cluster", got="node 1", fix="bring it up again")
            started.add(self.place.name)

    started: set[str] = set()
    kept = Collected()
    run = _run(_cameras(video(tmp_path / "v.mp4"), 2, loop=True), kept, make=Leaving, stays=True).start()
    kept.wait_for(1, "camera-0", "camera-1")
    for engine in run.status().engines:
        run.kill(engine.name)
    with pytest.raises(HostLost, match="has left the cluster"):
        run.wait(60)


def test_what_can_never_run_is_said_before_anything_starts(tmp_path: Path) -> None:
    """A plan for a device that the cluster lacks, and a cluster without nodes."""
    on_gpu = plan()
    model = on_gpu.models[0]
    on_gpu = replace(on_gpu, models=(replace(model, device="cuda:1"),))
    with pytest.raises(UsageError, match="runs on a GPU, and the cluster has none"):
        FleetRun(on_gpu, [], [], Options(), places=places(1), make=LocalEngine)
    with pytest.raises(UsageError, match="no place for an engine"):
        FleetRun(plan(), [], [], Options(), places=[], make=LocalEngine)


def test_the_last_minute_of_every_engine_is_recorded(tmp_path: Path) -> None:
    """A folder per engine, each a trace."""
    kept = Collected()
    sources = _cameras(video(tmp_path / "v.mp4"), 4, loop=True)
    run = _run(sources, kept, stays=True, out=tmp_path / "out").start()
    kept.wait_for(3, *(source.name for source in sources))
    folder = run.record("it was asked for")
    run.stop()
    run.wait(60)
    assert folder == tmp_path / "out"
    assert len(list(folder.glob("here_share_*/recording-*"))) == 2


def test_traces_are_brought_from_the_hosts_of_the_engines(tmp_path: Path) -> None:
    """What was recorded at once, the whole at the end: traces that can be read here, one folder per engine."""
    kept = Collected()
    sources = _cameras(video(tmp_path / "v.mp4"), 4, loop=True)

    def make(place: Place, plan: Any, options: Options) -> FarEngine:
        return FarEngine(place, plan, options, tmp_path / "hosts")

    run = _run(sources, kept, make=make, stays=True, out=tmp_path / "out").start()
    kept.wait_for(3, *(source.name for source in sources))
    folder = run.record("it was asked for")
    recordings = sorted(folder.glob("here_share_*/recording-*"))
    assert [len(load_trace(path)) > 0 for path in recordings] == [True, True]
    assert not list(folder.glob("here_share_*/trace"))
    run.stop()
    status = run.wait(60)
    segments = [load_trace(path.parent) for path in folder.glob("here_share_*/trace/segment-*/meta.json")]
    assert len(segments) == 2
    assert sum(map(len, segments)) == sum(source.taken for source in status.sources)


@pytest.mark.long
def test_a_trace_that_cannot_be_brought_is_told_and_ends_no_run(tmp_path: Path) -> None:
    """The note says where it is."""

    class Vanishing(FarEngine):
        """Its files are listed, and gone when they are read."""

        def read(self, path: str, offset: int, size: int) -> bytes:
            """Fail."""
            raise StoreError("a file of a trace cannot be read", got=path)

    def make(place: Place, plan: Any, options: Options) -> Vanishing:
        return Vanishing(place, plan, options, tmp_path / "hosts")

    sources = _cameras(video(tmp_path / "v.mp4", pictures=5), 2, pace="free")
    status = _run(sources, Collected(), make=make, out=tmp_path / "out").start().wait(60)
    assert {engine.state for engine in status.engines} == {"ended"}
    assert any(f"is still on here, in {tmp_path / 'out' / 'here_share_0'}" in note for note in status.notes)


class Refusing(FarEngine):
    """Can be loaded once per place, where `started` counts the starts."""

    started: list[str]

    def load(self) -> None:
        """Raise from the second start on."""
        self.started.append(self.place.name)
        if self.started.count(self.place.name) > 1:
            raise BackendError("the model does not fit", got=self.place.name)
        self._engine.load()


class Gone(Refusing):
    """Its host has left at the second start."""

    def ready(self) -> None:
        """Raise from the second start on."""
        if self.place.name in self.started:
            raise HostLost("there has left the cluster", got="node 1", fix="bring it up again")


def _run_that_loses_an_engine_for_good(kind: type[Refusing], folder: Path) -> RunStatus:
    """Two engines on other hosts, one of which is killed, and cannot be started again."""
    kind.started = []
    kept = Collected()
    sources = _cameras(video(folder / "v.mp4"), 4, loop=True)
    far = [replace(place, here=False) for place in places(2)]
    sink = QueuedSink(Function(kept), SystemClock(), capacity=100_000)
    options = Options(stays=True, out=folder / "out")
    make = partial(kind, root=folder / "hosts")
    run = FleetRun(plan(), sources, [sink], options, places=far, make=make).start()
    kept.wait_for(3, *(source.name for source in sources))
    run.kill("here share 0")
    while run.status().engines[0].starts < 2:
        kept.wait_for(1, *_at(run, "here share 1"))
    run.stop()
    return run.wait(60)


def test_the_trace_of_an_engine_that_died_is_brought_from_a_host_that_is_still_there(tmp_path: Path) -> None:
    """By another process on that host, once the run has ended; nothing is said of it."""
    status = _run_that_loses_an_engine_for_good(Refusing, tmp_path)
    segments = [load_trace(path.parent) for path in (tmp_path / "out").glob("here_share_*/trace/segment-*/meta.json")]
    assert [len(trace) > 0 for trace in segments] == [True, True]
    assert not any("is still on" in note for note in status.notes)


def test_the_trace_of_an_engine_whose_host_has_left_is_told_to_be_there(tmp_path: Path) -> None:
    """With its folder; the others' are brought."""
    status = _run_that_loses_an_engine_for_good(Gone, tmp_path)
    assert not (tmp_path / "out" / "here_share_0").exists()
    assert (tmp_path / "out" / "here_share_1" / "trace").exists()
    where = f"the trace of here share 0 is still on here, in {tmp_path / 'out' / 'here_share_0'}: there has left"
    assert any(where in note for note in status.notes)


def test_an_engine_that_starts_again_keeps_its_trace_beside_the_one_before(tmp_path: Path) -> None:
    """Nothing of the one that died is written over, and nothing keeps the new one from starting."""
    kept = Collected()
    sources = _cameras(video(tmp_path / "v.mp4"), 4, loop=True)
    run = _run(sources, kept, stays=True, out=tmp_path / "out").start()
    kept.wait_for(3, *(source.name for source in sources))
    run.kill("here share 0")
    while run.status().engines[0].starts < 2 or run.status().engines[0].state != "live":
        kept.wait_for(1, *_at(run, "here share 1"))
    run.stop()
    run.wait(60)
    assert len(list((tmp_path / "out").rglob("meta.json"))) >= 3


def test_an_engine_sees_one_gpu_and_paths_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever its process was started; names of inputs and built-in models stay as they are."""
    monkeypatch.chdir(tmp_path)
    for name in ("net.onnx", "names.txt", "prior.npy"):
        (tmp_path / name).write_bytes(b"")
    model = ModelPlan(
        name="m",
        model="net.onnx",
        device="cuda:1",
        post=Post(names="names.txt"),
        inputs=Inputs(values={"prior": "prior.npy", "scale": "1.0"}),
    )
    (moved,) = at_place(Plan(models=(model,))).models
    assert (moved.model, moved.device) == (str(tmp_path / "net.onnx"), "cuda")
    assert moved.post.names == str(tmp_path / "names.txt")
    assert moved.inputs.values == {"prior": str(tmp_path / "prior.npy"), "scale": "1.0"}
    assert at_place(plan()).models[0].model == "builtin:classifier"
