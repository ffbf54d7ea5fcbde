"""Runs on real RTSP, from a server of GStreamer's in its own process: what breaks comes back, and disturbs nobody."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from framepace.facts.plan import SourcePolicy
from framepace.facts.running import RunStatus, SourceSpec
from framepace.running.options import Options
from framepace.running.run import Run
from tests.doubles.services import free_port
from tests.running.rtsp import of, rtsp_cameras, until
from tests.running.runs import Collected, assert_accounted, plan, sink

STAYS = Options(stays=True)


def live(status: RunStatus, *names: str) -> bool:
    """Whether all of these sources are live and have delivered pictures."""
    return all(of(status, name).state == "live" and of(status, name).delivered > 10 for name in names)


def more(status: RunStatus, before: RunStatus, name: str, count: int = 10) -> bool:
    """Whether a source has delivered so many more."""
    return of(status, name).delivered >= of(before, name).delivered + count


@contextmanager
def going(sources: list[SourceSpec]) -> Iterator[Run]:
    """A run on sources, at the end of which every picture is accounted for."""
    run = Run(plan(), sources, options=STAYS).start()
    try:
        yield run
    finally:
        run.stop()
    assert_accounted(run.wait(40))


def test_cameras_over_tcp_and_udp() -> None:
    """H.264 and JPEG: both live, results of the right source in order, ages under a second."""
    collected = Collected()
    with rtsp_cameras() as cameras:
        cameras.say("play h264 x264 320 240 25")
        cameras.say("play jpeg jpeg 160 120 25")
        run = Run(
            plan(),
            [
                SourceSpec(name="tcp", address=cameras.address("h264")),
                SourceSpec(name="udp", address=cameras.address("jpeg"), transport="udp"),
            ],
            [sink(collected)],
        ).start()
        status = until(run, lambda status: live(status, "tcp", "udp"))
        run.stop()
        assert_accounted(run.wait(30))
    assert (of(status, "tcp").size, of(status, "udp").size) == ((240, 320), (120, 160))
    for name in ("tcp", "udp"):
        assert collected.numbers(name) == sorted(set(collected.numbers(name)))
        assert all(result.age_ms < 1000 for result in collected.results[name])


@pytest.mark.long
def test_a_camera_that_is_unplugged_comes_back_and_nobody_else_notices() -> None:
    """Its server is killed, and started again on the same port; the other server's camera goes on all the while."""
    port = free_port()
    with rtsp_cameras() as other:
        other.say("play b x264 320 240 25")
        with rtsp_cameras(port) as cameras:
            cameras.say("play a x264 320 240 25")
            sources = [
                SourceSpec(name="a", address=cameras.address("a")),
                SourceSpec(name="b", address=other.address("b")),
            ]
            patient = plan(source=SourcePolicy(buffer=500))  # a busy machine is no fault of the camera
            run = Run(patient, sources, options=STAYS).start()
            until(run, lambda status: live(status, "a", "b"))
        lost = until(run, lambda status: of(status, "a").state == "lost")
        assert of(lost, "a").note
        until(run, lambda status: more(status, lost, "b", 50))
        with rtsp_cameras(port) as cameras:
            cameras.say("play a x264 320 240 25")
            back = until(run, lambda status: of(status, "a").state == "live" and more(status, lost, "a"), 60)
            run.stop()
            status = run.wait(30)
    assert of(back, "a").reconnections >= 1
    assert of(status, "b").reconnections == 0
    assert of(status, "b").dropped == {}
    assert_accounted(status)


@pytest.mark.long
def test_a_camera_that_hangs_is_stale_then_lost_then_live_again() -> None:
    """Its connection stays open, and nothing comes; the other camera of the same server goes on."""
    with rtsp_cameras() as cameras:
        cameras.say("play a x264 320 240 25")
        cameras.say("play b x264 320 240 25")
        sources = [SourceSpec(name=name, address=cameras.address(name)) for name in "ab"]
        with going(sources) as run:
            until(run, lambda status: live(status, "a", "b"))
            cameras.say("hang a")
            stale = until(run, lambda status: of(status, "a").state == "stale")
            assert "no picture for" in of(stale, "a").note
            until(run, lambda status: of(status, "a").state == "lost")
            cameras.say("go on a")
            until(run, lambda status: of(status, "a").state == "live" and more(status, stale, "a"), 60)
            assert of(run.status(), "b").reconnections == 0


@pytest.mark.long
@pytest.mark.parametrize("then", ["x264 640 480 25", "x265 320 240 25", "jpeg 320 240 10"])
def test_resolution_codec_and_rate_may_change(then: str) -> None:
    """The camera is set up anew in the middle: it is connected again and goes on."""
    with rtsp_cameras() as cameras:
        cameras.say("play a x264 320 240 25")
        with going([SourceSpec(name="a", address=cameras.address("a"))]) as run:
            before = until(run, lambda status: live(status, "a"))
            cameras.say(f"play a {then}")
            width, height = map(int, then.split()[1:3])
            until(
                run,
                lambda status: (
                    of(status, "a").size == (height, width)
                    and of(status, "a").reconnections > 0
                    and more(status, before, "a", 20)
                ),
                60,
            )


@pytest.mark.long
def test_wrong_credentials_are_a_sentence_without_the_password() -> None:
    """Lost, with what the server said; corrected while it runs, it is live."""
    with rtsp_cameras(0, "anna:richtig") as cameras:
        cameras.say("play a x264 320 240 25")
        wrong = SourceSpec(name="a", address=cameras.address("a", "anna:geheim"))
        with going([wrong]) as run:
            status = until(run, lambda status: of(status, "a").state == "lost")
            assert "401" in of(status, "a").note
            assert "geheim" not in repr(status)
            run.change(SourceSpec(name="a", address=cameras.address("a", "anna:richtig")))
            status = until(run, lambda status: live(status, "a"))
            assert "richtig" not in repr(status)


@pytest.mark.long
def test_a_camera_with_b_frames_is_thinned_evenly() -> None:
    """Three of them after each reference, thinned to one of two, and to key frames alone: all pictures are counted."""
    with rtsp_cameras() as cameras:
        cameras.say("play a x264 320 240 25 3")
        sources = [
            SourceSpec(name="all", address=cameras.address("a")),
            SourceSpec(name="half", address=cameras.address("a"), every=2),
            SourceSpec(name="few", address=cameras.address("a"), every=25),
        ]
        with going(sources) as run:
            status = until(run, lambda status: of(status, "all").delivered > 150, 60)
    taken = of(status, "all").taken
    for name, every in (("half", 2), ("few", 25)):
        counts = of(status, name)
        assert counts.taken == pytest.approx(taken, abs=40)
        assert counts.delivered == pytest.approx(counts.taken / every, abs=4 + taken / 20)


@contextmanager
def server(send: bytes, again_s: float | None = None) -> Iterator[int]:
    """A port that sends bytes to whoever connects, once, or every so many seconds; and never closes."""
    over = threading.Event()

    def serve(listener: socket.socket) -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    def drip(connection: socket.socket) -> None:
        try:
            connection.sendall(send)
            while again_s is not None and not over.wait(again_s):
                connection.sendall(send)
            over.wait(60)
        except OSError:
            return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()


@pytest.mark.long
def test_garbage_a_drip_a_flood_and_a_name_that_does_not_exist_disturb_nobody() -> None:
    """Each is connecting or lost, with a sentence; the camera beside them is live at its rate, and ends in time."""
    header = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n"
    with (
        rtsp_cameras() as cameras,
        server(b"\x00\xff" * 5000) as garbage,
        server(b"G", 0.2) as drip,
        server(header * 1000, 0.0) as flood,
    ):
        cameras.say("play a x264 320 240 25")
        bad = {
            "garbage": f"rtsp://127.0.0.1:{garbage}/x",
            "drip": f"http://127.0.0.1:{drip}/x",
            "flood": f"rtsp://127.0.0.1:{flood}/x",
            "nowhere": "rtsp://no-such-host.invalid/x",
        }
        sources = [SourceSpec(name=name, address=address) for name, address in bad.items()]
        with going([*sources, SourceSpec(name="a", address=cameras.address("a"))]) as run:
            until(run, lambda status: live(status, "a"))
            status = until(run, lambda status: all(of(status, name).state == "lost" for name in bad), 60)
            assert all(of(status, name).note for name in bad)
            until(run, lambda now: more(now, status, "a", 100))
            assert of(run.status(), "a").reconnections == 0
