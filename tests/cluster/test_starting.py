"""Ray that cannot be started here: told at once, with what can be done about it."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from framepace.cluster import ClusterError, connect
from framepace.cluster.starting import _end_at_once, start


class _Usage(NamedTuple):
    """Of a disk, bytes."""

    total: int
    used: int
    free: int


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Ray that nothing is done to: the cluster of other tests may be there, and stays."""
    module = pytest.importorskip("ray", reason="Ray is not installed (the extra 'ray')")
    monkeypatch.setattr(module, "is_initialized", lambda: False)
    monkeypatch.setattr(module, "shutdown", lambda: None)
    monkeypatch.setattr(module, "init", _forbidden)
    monkeypatch.setattr("framepace.cluster.starting._short_folder", lambda: str(tmp_path / "ray"))
    return module


def _forbidden(*_: Any, **__: Any) -> None:
    raise RuntimeError("The current node timed out during startup.")


def test_a_full_disk_is_told_before_ray_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is free, where, and how another folder is named."""
    module = pytest.importorskip("ray", reason="Ray is not installed (the extra 'ray')")
    monkeypatch.setattr(module, "is_initialized", lambda: False)  # another test's cluster may be there
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Usage(1 << 30, (1 << 30) - (3 << 20), 3 << 20))
    with pytest.raises(ClusterError, match="no room for its files") as told:
        connect("local")
    assert "3 MiB free" in str(told.value.got)
    assert "TMPDIR=/DIR" in str(told.value.fix)


def test_every_ray_of_a_process_has_its_first_token(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray reads it once for good: with a new one a second Ray, or one after a start that failed, refuses itself."""
    tokens = []
    monkeypatch.setattr(ray, "init", lambda **_: tokens.append(os.environ["RAY_AUTH_TOKEN"]))
    for _ in range(2):
        start(1, None)()
    assert tokens[0] == tokens[1]
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_two_processes_do_not_start_ray_at_once(tmp_path: Path) -> None:
    """The second waits at the lock of the first, which a process that is killed gives up."""
    program = f"""
import sys
from framepace.cluster.starting import one_at_a_time
with one_at_a_time({str(tmp_path)!r}):
    print("mine", flush=True)
    sys.stdin.read()
"""
    first, second = (
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    )
    assert first.stdout is not None
    assert second.stdout is not None
    told, _, _ = select.select([first.stdout, second.stdout], [], [], 60)
    assert len(told) == 1
    holder, waiting = (first, second) if told == [first.stdout] else (second, first)
    assert holder.stdout is not None
    assert waiting.stdout is not None
    assert holder.stdout.readline() == "mine\n"
    holder.kill()
    assert waiting.stdout.readline() == "mine\n"
    for process in (holder, waiting):
        process.communicate()


def test_ctrl_c_that_came_while_ray_started_leaves_none(
    ray: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is put off until then; Ray is ended, and its folder is gone."""
    ended = []

    def interrupted(**_: Any) -> None:
        (tmp_path / "ray").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(ray, "init", interrupted)
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append(True))
    with pytest.raises(KeyboardInterrupt):
        start(1, None)
    assert ended
    assert not (tmp_path / "ray").exists()


def test_a_process_that_is_ended_by_force_leaves_nothing_of_ray(tmp_path: Path) -> None:
    """What names the folder is ended with all that it started, and the folder is gone; other processes stay."""
    folder = tmp_path / "framepace-ray-1"
    folder.mkdir()
    starting = (
        "import subprocess; agent = subprocess.Popen(['sleep', '600']); print(agent.pid, flush=True); agent.wait()"
    )
    raylet = subprocess.Popen([sys.executable, "-c", starting, f"--log_dir={folder}/logs"], stdout=subprocess.PIPE)
    other = subprocess.Popen(["sleep", "600"])
    assert raylet.stdout is not None
    agent = psutil.Process(int(raylet.stdout.readline()))
    _end_at_once(str(folder))
    assert raylet.wait(30) < 0
    psutil.wait_procs([agent], timeout=30)
    assert not agent.is_running() or agent.status() == psutil.STATUS_ZOMBIE
    assert other.poll() is None
    assert not folder.exists()
    other.kill()
    for process in (raylet, other):
        process.communicate()


def test_a_folder_that_is_still_written_to_is_removed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of Ray write logs until they have ended."""
    folder = tmp_path / "framepace-ray-1"
    folder.mkdir()
    remove = shutil.rmtree
    attempts = []

    def written_to(path: str, **options: Any) -> None:
        attempts.append(path)
        remove(path, **options)
        if len(attempts) == 1:
            (folder / "logs").mkdir(parents=True)

    monkeypatch.setattr(shutil, "rmtree", written_to)
    _end_at_once(str(folder))
    assert len(attempts) == 2
    assert not folder.exists()


def test_where_its_node_does_not_start_it_is_told_what_ray_wrote(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last line of a failure in its logs, without its place in Ray's code, beside what it raised."""

    def wrote(_temp_dir: str, **_: Any) -> None:
        logs = Path(_temp_dir) / "session_2026" / "logs"
        logs.mkdir(parents=True)
        begun, bye = (f"[2026 I 7 7] (raylet) a.cc:1: {word}" for word in ("begun", "bye"))
        failure = "Timed out waiting for file /s/metrics_agent_port_f00 in 30000 ms."
        fatal = f"[2026 C 7 7] (raylet) a.cc:9:  A bug, and we'll work with you to fix it. Check failed: x {failure}"
        (logs / "raylet.out").write_text("\n".join([begun, fatal, bye]))
        _forbidden()

    monkeypatch.setattr(ray, "init", wrote)
    with pytest.raises(ClusterError) as told:
        connect("local")
    assert str(told.value.got).endswith("startup.; its node wrote: its metrics_agent was not up in time")


def test_a_node_that_was_too_slow_is_started_a_second_time(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no third time; what fails for another reason is not started again."""
    for error, times in (("The current node timed out during startup.", 2), ("no memory", 1)):
        begun: list[bool] = []

        def fails(begun: list[bool] = begun, error: str = error, **_: Any) -> None:
            begun.append(True)
            raise RuntimeError(error)

        monkeypatch.setattr(ray, "init", fails)
        with pytest.raises(ClusterError, match="cannot be started here"):
            start(1, None)
        assert len(begun) == times


@pytest.mark.usefixtures("ray")
def test_where_ray_does_not_start_here_nobody_is_sent_to_ray_here() -> None:
    """'--ray local' is what failed; without logs its own words stand alone."""
    with pytest.raises(ClusterError, match="cannot be started here") as told:
        connect("local")
    assert str(told.value.got) == "The current node timed out during startup."
    assert "--ray local" not in str(told.value)
    assert "leave --ray out" in str(told.value.fix)
