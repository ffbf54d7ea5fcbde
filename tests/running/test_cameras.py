"""The sources of a run, as they come, go and are forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from framepace.clock.system import SystemClock
from framepace.errors import SourceError, UsageError
from framepace.facts.plan import EnginePlan, SourcePolicy
from framepace.facts.running import SourceSpec
from framepace.feeds.batchrules import BatchRule
from framepace.feeds.pacer import Pacer
from framepace.feeds.runstate import RunState
from framepace.feeds.stream import StreamFeed
from framepace.feeds.window import WindowBatcher
from framepace.running.account import Account
from framepace.running.camera import check_address, checked_scheme
from framepace.running.cameras import Cameras, Limits
from framepace.running.run import Run
from framepace.units import NS_PER_S
from tests.running.runs import plan
from tests.running.videos import video


@contextmanager
def cameras() -> Iterator[tuple[Cameras, dict[int, Account]]]:
    """No sources yet, in a feed that nobody takes frames from."""
    clock = SystemClock()
    pacer = Pacer(EnginePlan(), clock, RunState(clock))
    feed = StreamFeed([], None, WindowBatcher(BatchRule(1)), SourcePolicy(), pacer, lambda *_: None, stays=True)
    accounts: dict[int, Account] = {}
    made = Cameras(feed, accounts, clock, Limits(buffer=2), lambda result: None)
    with feed:
        yield made, accounts
        made.close()


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> SourceSpec:
    """A file that is played again and again."""
    path = video(tmp_path_factory.mktemp("videos") / "video.mp4")
    return SourceSpec(name="a", address=path, loop=True)


def test_a_source_that_comes_back_goes_on_where_it_was(spec: SourceSpec) -> None:
    """With its number; after a minute it is no longer shown, after ten its counts are forgotten, its name never."""
    now = SystemClock().now()
    with cameras() as (sources, accounts):
        sources.add(spec)
        first = accounts[0]
        sources.remove("a")
        assert [status.state for status in sources.statuses(now)] == ["removed"]
        sources.add(spec)
        assert accounts == {0: first}
        sources.remove("a")
        assert sources.statuses(now + 70 * NS_PER_S) == ()
        assert accounts == {0: first}
        assert sources.statuses(now + 700 * NS_PER_S) == ()
        assert accounts == {}
        sources.add(spec)
        assert list(accounts) == [1]
        assert sources.names == ("a", "a")


def test_standard_input_is_read_by_one_source() -> None:
    """A second one would take bytes away from the first; when that is removed, there is room for another."""
    with cameras() as (sources, _):
        sources.add(SourceSpec(name="a", address="-"))
        with pytest.raises(UsageError, match="standard input has two sources"):
            sources.add(SourceSpec(name="b", address="-"))
        assert [spec.name for spec in sources.specs] == ["a"]
    with pytest.raises(UsageError, match="standard input has two sources"):
        Run(plan(), [SourceSpec(name="a", address="-"), SourceSpec(name="b", address="-")])


@pytest.mark.parametrize(
    ("address", "says"), [("nowhere.mp4", "correct the path"), ("car park=a.mp4", "a name before '='")]
)
def test_a_file_that_is_not_there_may_be_a_name_that_is_none(address: str, says: str) -> None:
    """What stands before '=' with a space in it was taken for a part of the path, which is said."""
    with pytest.raises(SourceError, match="no file") as error:
        check_address(SourceSpec(name="source-1", address=address))
    assert says in str(error.value.fix)


def test_what_a_recording_replays_are_files_or_synthetic_pictures(spec: SourceSpec, tmp_path: Path) -> None:
    """A camera's pictures are not kept; those of its size stand for them."""
    with cameras() as (sources, _):
        sources.add(spec)
        sources.add(SourceSpec(name="b", address="rtsp://127.0.0.1:9/x"))
        sources.add(SourceSpec(name="c", address=spec.address))
        assert sources.pictures([0, 1]).videos == (spec.address, "synthetic")
        assert sources.pictures([2]).videos == (spec.address,)


@pytest.mark.parametrize("address", ["rstp://10.0.0.7/stream", "10.0.0.7://x"])
def test_a_protocol_that_nobody_knows_is_refused_at_once(address: str) -> None:
    """It would be tried for ever; in capital letters it is the same protocol."""
    with cameras() as (sources, _), pytest.raises(UsageError, match="protocol"):
        sources.add(SourceSpec(name="a", address=address))
    with pytest.raises(UsageError, match="protocol"):
        check_address(SourceSpec(name="a", address=address))
    assert checked_scheme("RTSP://x/1") == "rtsp"
    assert checked_scheme("ftp://x/1") == "ftp"
