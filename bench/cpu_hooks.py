"""Hooks, processes and groups that bench/injected.py injects on a CPU: each is a real one that really is slow."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from injections import Unavailable, busy_neighbour

from framepace.recording.machine import cpu_groups

_RARE_FRAMES = 12
_CROWD_S = 0.025
_MESSAGE_BYTES = 1 << 16  # what a pipe holds: the next message waits until this one is read
_LOCKED_S = 0.05
_UNLOCKED_S = 0.35
_TOO_LONG_S = 0.045  # longer than a picture of a camera of 30 fps
_LOW_PRIORITY = 5  # a third of the weight of a process of usual priority (sched(7): 1.25 per step)
_PERIOD_US = 100_000
_READER = f"""
import os, time
count = 0
while True:
    count += 1
    if count % {_RARE_FRAMES} == 0:
        time.sleep(0.09)
    left = {_MESSAGE_BYTES}
    while left:
        read = len(os.read(0, left))
        if not read:
            raise SystemExit
        left -= read
"""


def crowded(model: str, outputs: Any, frame: int) -> None:
    """Computes for 25 ms in one frame of twelve, as a suppression of boxes in a crowd."""
    if frame % _RARE_FRAMES == 5:
        _compute(_CROWD_S)


def too_slow(model: str, outputs: Any, frame: int) -> None:
    """Computes for longer than a camera's period in every frame."""
    _compute(_TOO_LONG_S)


def _compute(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


class Sinks:
    """What the hooks below hand their results to while a context is entered."""

    pipe = -1
    lock = threading.Lock()


def written(model: str, outputs: Any, frame: int) -> None:
    """Writes a message to a process that reads it, and waits while that process does not."""
    sent = 0
    while sent < _MESSAGE_BYTES:
        sent += os.write(Sinks.pipe, bytes(_MESSAGE_BYTES - sent))


def locked(model: str, outputs: Any, frame: int) -> None:
    """Takes a lock that another thread holds now and then."""
    with Sinks.lock:
        pass


@contextmanager
def stalling_reader() -> Iterator[None]:
    """A process at the other end of a pipe, which stops reading for 90 ms before every twelfth message."""
    command = [sys.executable, "-S", "-E", "-c", _READER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        Sinks.pipe = process.stdin.fileno()
        yield


@contextmanager
def lock_holder() -> Iterator[None]:
    """A thread that holds the lock for 50 ms of every 400, waiting for something itself."""
    ended = threading.Event()

    def hold() -> None:
        while not ended.wait(_UNLOCKED_S):
            with Sinks.lock:
                time.sleep(_LOCKED_S)

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def low_priority() -> Iterator[None]:
    """This process at a low priority, beside neighbours of the usual one."""
    with busy_neighbour():
        os.nice(_LOW_PRIORITY)
        yield


@contextmanager
def cpu_quota(cores: float) -> Iterator[None]:
    """This process in a control group that may use `cores` cores; Unavailable where none can be made."""
    home = next(iter(cpu_groups()), None)
    if home is None:
        raise Unavailable("this system has no control groups for CPU time")
    group = _group_with_quota(cores)
    _enter(group)
    try:
        yield
    finally:
        _enter(home)
        group.rmdir()


def _group_with_quota(cores: float) -> Path:
    """A new group in the nearest group that can hold one: in version 2 one with processes of its own cannot."""
    refused = ""
    for parent in cpu_groups():
        group = parent / f"framepace-{os.getpid()}"
        try:
            group.mkdir()
            _limit(group, cores)
            return group
        except OSError as error:
            refused = str(error)
            if group.is_dir():
                group.rmdir()
    raise Unavailable(f"no control group with a quota can be made: {refused}")


def _limit(group: Path, cores: float) -> None:
    """Write the quota, as version 2 or 1 of control groups wants it."""
    quota_us = round(cores * _PERIOD_US)
    handed_on = group.parent / "cgroup.subtree_control"
    if handed_on.exists():
        _hand_on(handed_on, group)
        (group / "cpu.max").write_text(f"{quota_us} {_PERIOD_US}")
        return
    if not (group / "cpu.cfs_quota_us").exists():
        raise OSError(f"{group} has no controller of CPU time")
    (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
    (group / "cpu.cfs_quota_us").write_text(str(quota_us))


def _hand_on(handed_on: Path, group: Path) -> None:
    """Let groups below limit CPU time; undone where they cannot hold processes then, as their parent has its own."""
    before = handed_on.read_text().split()
    handed_on.write_text("+cpu")
    if (group / "cgroup.type").read_text().strip() != "domain":
        if "cpu" not in before:
            handed_on.write_text("-cpu")
        raise OSError(f"{group.parent} has processes of its own")


def _enter(group: Path) -> None:
    (group / "cgroup.procs").write_text(str(os.getpid()))
