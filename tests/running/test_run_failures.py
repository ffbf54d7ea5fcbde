"""What fails in a run ends nothing but itself: models, engines, workers, processes, cameras, disks."""

from __future__ import annotations

import threading
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from framepace.errors import BackendError, DeviceLost, StoreError
from framepace.facts.plan import EnginePlan, ModelPlan, Plan, Target
from framepace.facts.running import SourceSpec
from framepace.running.options import Options
from framepace.running.run import Run
from framepace.store import TraceWriter
from tests.doubles.faulty import Faults
from tests.running.rtsp import of, until
from tests.running.runs import Collected, assert_accounted, free, plan, sink
from tests.running.videos import PICTURES


def test_a_model_that_raises_now_and_then_gives_failed_results(path: str) -> None:
    """Every third inference fails: its result says why, the others have answers, all in order."""

    def fail(number: int) -> None:
        if number % 3 == 0:
            raise ValueError("no such number")

    Faults.reset(fail)
    collected = Collected()
    status = Run(plan("faulty"), [free("a", path)], [sink(collected)]).start().wait(30)
    assert_accounted(status)
    assert collected.numbers("a") == list(range(PICTURES))
    failed = [result for result in collected.results["a"] if result.error]
    assert len(failed) == of(status, "a").failed == PICTURES // 3
    assert all("no such number" in str(result.error) and not result.answers for result in failed)


def test_outputs_that_are_no_numbers_are_told_once(path: str) -> None:
    """NaN from the fifth picture on: all are delivered, and a note names the model; of a healthy one there is none."""
    model = replace(plan().models[0], options={"nan_at": 5})
    status = Run(replace(plan(), models=(model,)), [free("a", path)]).start().wait(60)
    assert_accounted(status)
    assert of(status, "a").delivered == PICTURES
    (note,) = (note for note in status.notes if "NaN" in note)
    assert note.startswith("outputs of m are NaN or infinite")
    healthy = Run(plan(), [free("a", path)]).start().wait(60)
    assert not [note for note in healthy.notes if "NaN" in note]


def test_an_engine_that_dies_is_started_again_and_the_sources_go_on(path: str) -> None:
    """A device that is lost at the tenth inference: what was in flight is counted, the rest is delivered."""

    def lose(number: int) -> None:
        if number == 10:
            raise DeviceLost("the device fell off the bus")

    Faults.reset(lose)
    status = Run(plan("faulty"), [free("a", path)]).start().wait(60)
    assert_accounted(status)
    assert of(status, "a").delivered >= PICTURES - 3
    assert any("started again" in note for note in status.notes)


def test_a_worker_that_hangs_is_replaced(path: str) -> None:
    """The fifth inference never returns: its frame is dropped as such, and another engine goes on."""
    over = threading.Event()
    Faults.reset(lambda number: over.wait(60) if number == 5 else None)
    run = Run(plan("faulty"), [free("a", path)], options=Options(patience_s=0.5)).start()
    status = run.wait(60)
    over.set()
    assert_accounted(status)
    assert of(status, "a").dropped == {"worker hung": 1}
    assert of(status, "a").delivered == PICTURES - 1
    assert run.hanging == 1


def test_a_plan_that_never_works_ends_the_run_with_its_error(path: str) -> None:
    """Every inference fails from the first on."""

    def fail(number: int) -> None:
        raise BackendError("no kernel")

    Faults.reset(fail)
    run = Run(plan("faulty"), [SourceSpec(name="a", address=path, loop=True)]).start()
    with pytest.raises(BackendError, match="no kernel"):
        run.wait(30)
    assert_accounted(run.status())


@pytest.mark.long
def test_the_process_of_a_model_that_is_killed_is_started_again(path: str) -> None:
    """With strategy=processes: what was in flight is counted, and the run goes on in a new process."""
    model = ModelPlan(name="m", model="builtin:classifier", backend="null")
    apart = Plan(models=(model,), engine=EnginePlan(strategy="processes"), target=Target(fps=30))
    run = Run(apart, [SourceSpec(name="a", address=path, loop=True)]).start()
    before = until(run, lambda status: of(status, "a").delivered > 5)
    (child,) = (process for process in psutil.Process().children() if "spawn_main" in " ".join(process.cmdline()))
    child.kill()
    until(run, lambda status: any("started again" in note for note in status.notes))
    until(run, lambda status: of(status, "a").delivered > of(before, "a").delivered + 60)
    run.stop()
    assert_accounted(run.wait(40))


def test_a_camera_that_does_not_answer_is_lost_and_ends_nothing(path: str) -> None:
    """The other source is read to its end; the status says what is wrong, without the password."""
    camera = SourceSpec(name="door", address="rtsp://anna:geheim@127.0.0.1:9/door")
    run = Run(plan(), [camera, free("a", path)]).start()
    status = until(run, lambda status: of(status, "door").state == "lost" and of(status, "a").delivered == PICTURES)
    assert "127.0.0.1:9" in of(status, "door").note
    run.stop()
    assert "geheim" not in repr(run.wait(30))


def test_a_disk_that_fills_ends_the_trace_and_not_the_run(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every picture is delivered; a note says that the trace is not."""

    def full(writer: TraceWriter, name: str, rows: bytes) -> None:
        raise StoreError("no room")

    monkeypatch.setattr(TraceWriter, "append", full)
    source = SourceSpec(name="a", address=path)
    status = Run(plan(), [source], options=Options(out=tmp_path)).start().wait(30)
    assert of(status, "a").delivered + sum(of(status, "a").dropped.values()) == PICTURES
    assert any("the trace cannot be written" in note for note in status.notes)
