"""Faults of cameras, models and clocks in a run: the others go on, every picture is counted, and it recovers."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil

from framepace.facts.plan import SourcePolicy
from framepace.facts.running import RunStatus, SourceSpec
from framepace.running.options import Options
from framepace.running.run import Run
from tests.doubles.faulty import Faults
from tests.running.rtsp import of, until
from tests.running.runs import CLOCK, Collected, assert_accounted, free, plan, sink
from tests.running.videos import PICTURES, video

STAYS = Options(stays=True)
SECOND_NS = 1_000_000_000


@contextmanager
def broadcast(folder: Path, pause_s: float) -> Iterator[str]:
    """A camera that sends the same second of transport stream again and again, each after a pause; its address."""
    second = Path(video(folder / "second.ts")).read_bytes()

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while True:
                    self.wfile.write(second)
                    time.sleep(pause_s)

        def log_message(self, format: str, *args: Any) -> None:
            """Silence."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/camera.ts"
        server.shutdown()


def lost(status: RunStatus, name: str) -> int:
    """How many pictures of a source were dropped so far."""
    return sum(of(status, name).dropped.values())


def test_a_camera_that_floods_takes_no_pictures_from_another(path: str, tmp_path: Path) -> None:
    """It sends as much as the network carries: it loses what is too much, and the other's are nearly all delivered."""
    Faults.reset(lambda number: CLOCK.sleep_until(CLOCK.now() + SECOND_NS // 200))
    with broadcast(tmp_path, 0.0) as address:
        sources = [SourceSpec(name="flood", address=address), SourceSpec(name="a", address=path, loop=True)]
        run = Run(plan("faulty"), sources, options=STAYS).start()
        before = until(run, lambda status: lost(status, "flood") > 100 and of(status, "a").delivered > 0)
        after = until(run, lambda status: of(status, "a").taken > of(before, "a").taken + 60)
        run.stop()
        assert_accounted(run.wait(30))
    delivered = {name: of(after, name).delivered - of(before, name).delivered for name in ("flood", "a")}
    taken = {name: of(after, name).taken - of(before, name).taken for name in ("flood", "a")}
    assert delivered["a"] / taken["a"] > 2 * delivered["flood"] / taken["flood"]
    assert of(after, "a").reconnections == 0


def test_timestamps_that_begin_anew_make_no_picture_old(tmp_path: Path) -> None:
    """A camera whose clock goes back by a second ten times within one connection, and stops for half of one then."""
    collected = Collected()
    with broadcast(tmp_path, 0.5) as address:
        patient = plan(source=SourcePolicy(buffer=3 * PICTURES))
        run = Run(patient, [SourceSpec(name="a", address=address)], [sink(collected)], STAYS).start()
        status = until(run, lambda status: of(status, "a").delivered > 10 * PICTURES, 60)
        run.stop()
        assert_accounted(run.wait(30))
    assert of(status, "a").reconnections == 0
    ages = [result.age_ms for result in collected.results["a"]]
    stopped_ms = 8 * 500  # meanwhile
    assert min(ages[-PICTURES:]) - min(ages[PICTURES : 2 * PICTURES]) < stopped_ms / 2


def test_a_model_that_runs_out_of_memory_now_and_then_ends_no_run(path: str) -> None:
    """What it was given is failed or dropped with its cause, and the rest is delivered."""

    def exhausted(number: int) -> None:
        if number == 10:
            raise MemoryError

    Faults.reset(exhausted)
    collected = Collected()
    status = Run(plan("faulty"), [free("a", path)], [sink(collected)]).start().wait(60)
    assert_accounted(status)
    assert of(status, "a").delivered >= PICTURES - 3
    assert collected.numbers("a") == sorted(set(collected.numbers("a")))


def test_a_model_that_is_a_hundred_times_slower_for_a_while_loses_pictures_and_recovers(path: str) -> None:
    """From 3 to 300 ms and back: what there is no time for is dropped with its cause, and hardly any after it."""
    times_ns = [SECOND_NS * 3 // 1000]
    Faults.reset(lambda number: CLOCK.sleep_until(CLOCK.now() + times_ns[-1]))
    run = Run(plan("faulty"), [SourceSpec(name="a", address=path, loop=True)], options=STAYS).start()
    until(run, lambda status: of(status, "a").delivered > 20)
    times_ns.append(100 * times_ns[0])
    begun = run.status()
    slow = until(run, lambda status: lost(status, "a") >= lost(begun, "a") + 30)
    times_ns.append(times_ns[0])
    well = until(run, lambda status: of(status, "a").delivered > of(slow, "a").delivered + 10)
    after = until(run, lambda status: of(status, "a").taken > of(well, "a").taken + 60)
    run.stop()
    assert_accounted(run.wait(30))
    share_slow = (lost(slow, "a") - lost(begun, "a")) / (of(slow, "a").taken - of(begun, "a").taken)
    share_after = (lost(after, "a") - lost(well, "a")) / (of(after, "a").taken - of(well, "a").taken)
    assert set(of(after, "a").dropped) <= {"buffer full", "stale"}
    assert share_after < 0.5 * share_slow


STOPPED = """
import os, signal, sys
from framepace.facts.running import SourceSpec
from framepace.running.options import Options
from framepace.running.run import Run
from tests.doubles.faulty import Faults
from tests.running.runs import assert_accounted, free, plan

Faults.reset(lambda number: os.kill(os.getpid(), signal.SIGSTOP) if number == 5 else None)
status = Run(plan("faulty"), [free("a", sys.argv[1])], options=Options(patience_s=1.0)).start().wait(60)
assert_accounted(status)
print(status.sources[0].delivered, [note for note in status.notes if "again" in note])
"""


def test_a_process_that_was_stopped_takes_no_worker_for_hung(path: str) -> None:
    """As when a laptop or a virtual machine sleeps: for four times its patience, in the middle of an inference."""
    with subprocess.Popen([sys.executable, "-c", STOPPED, path], stdout=subprocess.PIPE, text=True) as process:
        while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(4.0)
        process.send_signal(signal.SIGCONT)
        told = process.communicate(timeout=60)[0]
    assert told.split(maxsplit=1) == [str(PICTURES), "[]\n"]


def test_a_wrong_password_is_in_no_file_of_a_run(path: str, tmp_path: Path) -> None:
    """Neither in the trace nor in a recording of a camera that refuses it."""
    sources = [SourceSpec(name="a", address=path, loop=True)]
    sources.append(SourceSpec(name="door", address="rtsp://anna:geheim@127.0.0.1:9/door?token=geheim"))
    run = Run(plan(), sources, options=Options(stays=True, out=tmp_path)).start()
    until(run, lambda status: of(status, "door").state == "lost" and of(status, "a").delivered > 5)
    recording = run.record("of a test")
    run.stop()
    run.wait(30)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any(recording in file.parents for file in files)
    assert not [file for file in files if b"geheim" in file.read_bytes()]
