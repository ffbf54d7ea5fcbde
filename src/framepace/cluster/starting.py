"""Ray, started here or joined: the only place that knows how its own errors and habits become framepace's."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

from framepace.errors import ClusterError, UsageError, one_line
from framepace.interrupts import at_once, held

_HERE = "local"
INSTALL = "pip install 'framepace[ray]'"
_REACH_S = 5.0  # for a host to take a connection
_ANSWER_S = 30.0  # for a cluster to answer; more than the start of an interpreter on a busy machine
_LONGEST_FOLDER = 20
_ROOM_BYTES = 64 * 2**20  # of the disk, for logs and sockets: without, Ray waits for minutes
_OBJECTS_BYTES = 256 * 2**20  # shared memory of a cluster that is started here: results are small
_HEALTH = ("-m", "ray.scripts.scripts", "health-check", "--skip-version-check", "--address")
_LOGS = ("raylet.err", "raylet.out", "gcs_server.err", "gcs_server.out")
_FAILED = (" E ", " C ", "rror", "Fail", "fail")  # in a line of a log that says what went wrong
_HEADER = re.compile(r"^\[[^]]*\] (\(\w+\) )?\S+:\d+:\s*")  # time, process and place in Ray's code
_APOLOGY = "and we'll work with you to fix it."
_AGENT = re.compile(r".*Timed out waiting for file \S*/(\w+)_port_.*")  # which a process writes once it is up
_TOO_SLOW = "timed out during startup"
_LONGEST_LINE = 300
_GONE_S = 2.0  # for Ray's processes to end
_ADDRESSES = "local, local:N, auto, HOST:PORT or ray://HOST:PORT"


def ray_module() -> Any:
    """Ray. Raises ClusterError where it is not installed."""
    try:
        import ray
    except ImportError as error:
        got = f"{error.name or error} cannot be imported"
        raise ClusterError("--ray needs Ray", got=got, expected="the extra 'ray'", fix=INSTALL) from error
    return ray


def start(cpus: int, gpus: int | None) -> Callable[[], None]:
    """Start Ray on this machine, for this process, listening on the loopback interface alone; what ends it.

    Args:
        gpus: how many it shall count; None: those it finds.

    Raises ClusterError where it does not start. Its node has 30 s for that, which a busy machine may not give it; the
    second time its files are in memory.
    """
    amounts = {"num_cpus": cpus, "num_gpus": gpus, "object_store_memory": _OBJECTS_BYTES}
    with one_at_a_time(tempfile.gettempdir()):
        try:
            return _started(amounts)
        except ClusterError as error:
            if _TOO_SLOW not in str(error.got):
                raise
        return _started(amounts)


def _started(amounts: dict[str, Any]) -> Callable[[], None]:
    """Start Ray with so much of each resource; what ends it."""
    folder = _short_folder()
    at_once(partial(_end_at_once, folder))
    alone = {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_memory_monitor_refresh_ms": "0",  # which ends workers when other programs fill the memory
        "RAY_worker_niceness": "0",  # else what is measured and run gives way to everything else on the host
        "RAY_AUTH_TOKEN": _token(),  # else Ray makes one, and keeps it in the user's home
    }
    ray = ray_module()
    asked = partial(ray.init, address="local", include_dashboard=False, _temp_dir=folder, **amounts, **_quiet())
    try:
        with _environment(alone), _loopback():
            _joined(asked, "Ray cannot be started here", _HERE, lambda: last_words(folder))
    except BaseException:  # also Ctrl-C, which is put off until Ray has started
        _end(folder)
        raise
    return partial(_end, folder)


@cache
def _token() -> str:
    """The secret of every Ray that this process starts: Ray keeps the first one that it read for as long as it lives.

    With another for the second it would be refused by what it has started itself.
    """
    return secrets.token_hex(32)


@contextmanager
def one_at_a_time(parent: str) -> Iterator[None]:
    """Inside, no other process of this user starts Ray: two at once may both be too slow."""
    try:
        import fcntl
    except ImportError:  # no such locks here
        yield
        return
    path = Path(parent) / f"framepace-ray-{os.getuid()}.lock"
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:  # somebody else's; Ray starts without
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def last_words(folder: str) -> str:
    """The last thing that a node of Ray wrote on its own failure, in one line; '' where it wrote none.

    Args:
        folder: where Ray keeps its sessions.
    """
    logs = (path for name in _LOGS for path in Path(folder).glob(f"session_2*/logs/{name}"))
    lines = (line.strip() for path in logs for line in reversed(_lines(path)))
    failure = next((line for line in lines if any(word in line for word in _FAILED)), "")
    words = _HEADER.sub("", failure).rpartition(_APOLOGY)[2].strip()
    return _AGENT.sub(r"its \1 was not up in time", words)[:_LONGEST_LINE]


def _lines(path: Path) -> list[str]:
    """The lines of a log, whatever is in them."""
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _short_folder() -> str:
    """A new folder whose path leaves room for those of sockets, which have 107 letters (unix(7)).

    Raises ClusterError where the disk is full.
    """
    parent = tempfile.gettempdir()
    if len(parent) > _LONGEST_FOLDER:
        parent = "/tmp"
    _check_room(parent)
    return tempfile.mkdtemp(prefix="framepace-ray-", dir=parent)


def _check_room(parent: str) -> None:
    free = shutil.disk_usage(parent).free
    if free < _ROOM_BYTES:
        fix = f"free some, or name a folder with room, of at most {_LONGEST_FOLDER} letters: TMPDIR=/DIR"
        got = f"{free >> 20} MiB free in {parent}"
        raise ClusterError("Ray has no room for its files", got=got, expected=f"{_ROOM_BYTES >> 20} MiB", fix=fix)


def _end(folder: str) -> None:
    """End the Ray that was started here, and remove what it wrote."""
    ray_module().shutdown()
    _remove(folder)


def _end_at_once(folder: str) -> None:
    """As `_end`, when this process is about to end by force: what is starting would outlive it for a minute.

    Ray's processes have the folder in their command lines; what they start need not.
    """
    import psutil

    for process in psutil.Process().children():
        with suppress(psutil.Error):
            if any(folder in word for word in process.cmdline()):
                _kill([*process.children(recursive=True), process])
    _remove(folder)


def _remove(folder: str) -> None:
    """Remove what Ray wrote; its processes may write on until they have ended."""
    until = time.monotonic() + _GONE_S
    while Path(folder).exists() and time.monotonic() < until:
        shutil.rmtree(folder, ignore_errors=True)


def _kill(processes: Iterable[Any]) -> None:
    for process in processes:
        with suppress(Exception):  # it has ended
            process.kill()


def join(address: str) -> Callable[[], None]:
    """Connect to a cluster; what disconnects. Raises ClusterError where none answers, within a bounded time."""
    ray = ray_module()
    _check_answers(address)
    _joined(lambda: ray.init(address=address, **_quiet()), "the Ray cluster cannot be joined", address)
    return lambda: ray.shutdown()


def check_address(address: str) -> None:
    """Raise UsageError for what is no address of a cluster."""
    if address in ("local", "auto"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError("this is no address of a Ray cluster", got=address, expected=_ADDRESSES, fix="--ray local")


def _quiet() -> dict[str, Any]:
    """Options with which Ray leaves standard output and error to this program."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    return {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables for the processes that are started within; those that a user set stay."""
    before = dict(os.environ)
    os.environ.update({**variables, **before})
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():  # with those that Ray set
            os.environ.pop(name)


@contextmanager
def _loopback() -> Iterator[None]:
    """Within, Ray takes the loopback interface for this machine's, as it does on systems with firewalls that ask.

    Its variable for that is read when it is imported, which a program may have done before.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _joined(init: Callable[[], object], problem: str, address: str, words: Callable[[], str] = lambda: "") -> None:
    """Let Ray begin. It takes SIGTERM for itself and prints events on standard output: both are undone.

    Args:
        words: what Ray wrote elsewhere about its failure.
    """
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with held():
            init()
    except Exception as error:
        with suppress(Exception):
            ray_module().shutdown()
        raise _refusal(problem, address, error, words()) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
    with suppress(ImportError):
        from ray._private import worker

        worker._worker_logs_enabled = False


def _refusal(problem: str, address: str, error: Exception, words: str) -> ClusterError:
    """What Ray raised, what its node wrote beside, and what helps."""
    text = one_line(error)
    if "Version mismatch" in text:
        return ClusterError("the cluster has another version of Ray or Python", got=text, fix="install the same ones")
    if "ray[client]" in text:
        fix = "pip install 'ray[client]', or run this on a node of the cluster with --ray auto"
        return ClusterError(problem, got=f"{address}: {text}", fix=fix)
    fix = "run this on a node of the cluster ('ray start --address=HOST:PORT'), or use --ray local"
    if address == _HERE:
        fix = "see that memory, /dev/shm and processes are left and the machine is not overloaded; or leave --ray out"
        return ClusterError(problem, got="; its node wrote: ".join(filter(None, (text[:300], words))), fix=fix)
    return ClusterError(problem, got=f"{address}: {text[:300]}", expected=_ADDRESSES, fix=fix)


def _check_answers(address: str) -> None:
    """Raise ClusterError unless a cluster answers: Ray itself tries for minutes."""
    if address != "auto":
        _check_reachable(address)
    if address.startswith("ray://"):
        return
    where = [] if address == "auto" else [address]
    try:
        check = subprocess.run(
            [sys.executable, *_HEALTH, *(where or [_found()])], capture_output=True, timeout=_ANSWER_S
        )
    except subprocess.TimeoutExpired as error:
        raise _no_answer(address, f"{address}: no answer in {_ANSWER_S:g} s") from error
    if check.returncode:
        lines = check.stderr.decode(errors="replace").strip().splitlines()
        raise _no_answer(address, f"{address}: {lines[-1] if lines else 'not healthy'}")


def _found() -> str:
    """The address of the cluster that this machine is a node of."""
    from ray._private import services

    try:
        return str(services.canonicalize_bootstrap_address_or_die("auto"))
    except Exception as error:
        raise _no_answer("auto", "this machine is no node of a cluster") from error


def _check_reachable(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_S).close()
    except OSError as error:
        raise _no_answer(address, f"{address}: {error.strerror or error}") from error


def _no_answer(address: str, got: str) -> ClusterError:
    fix = "start one ('ray start --head'), correct the address, or use --ray local, which needs none"
    return ClusterError("no Ray cluster answers", got=got, expected=_ADDRESSES, fix=fix)
