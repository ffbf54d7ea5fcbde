"""The command line in processes of its own, forked from one that has loaded it: a start costs milliseconds.

`python -m tests.doubles.commands` forks for every line of its input, a `_Request`; the answer is the process's id.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import framepace

PATIENCE_S = 150.0  # on a machine that does much else; over it, a command hangs
LIBRARIES = (
    "av",
    "onnx",
    "onnxruntime",
    "pandas",
    "psutil",
    "pyarrow.parquet",
    "pydantic",
    "rich.progress",
    "rich.table",
    "ruptures",
    "scipy.special",
)
"""What is imported by functions, not by modules."""
UNUSED = ("framepace.backends.torch.", "framepace.models.torch.")
"""Modules that import PyTorch, which takes seconds; no test runs a network of PyTorch in a command."""
_CLOSED = ""
_ROOT = Path(__file__).parents[2]


class _Request(NamedTuple):
    """A command: where it runs, and the files of its output and its exit code."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    out: str
    err: str
    code: str
    limits: dict[str, int]
    fresh: bool


class Command:
    """`framepace ARGUMENTS` in `folder`, in a session of its own; ended when the `with` block is left.

    Args:
        out, err: the files of standard output and error; '' closes them. By default they are kept for `out` and `err`.
        limits: what the system gives it, by the name of the limit (RLIMIT_...).
        fresh: begin with the start of Python, which is not part of a fork.
        environment: variables beside those of the test.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: object,
        out: str | None = None,
        err: str | None = None,
        limits: Mapping[str, int] | None = None,
        fresh: bool = False,
        **environment: str,
    ) -> None:
        self._place = Path(tempfile.mkdtemp(prefix="command-"))
        self._out = str(self._place / "out") if out is None else out
        self._err = str(self._place / "err") if err is None else err
        for path in (self._out, self._err):  # which are asked for before the command has begun
            if Path(path).parent == self._place:
                Path(path).touch()
        request = _Request(
            arguments=[str(argument) for argument in arguments],
            folder=str(folder),
            environment={**os.environ, **environment},
            out=self._out,
            err=self._err,
            code=str(self._place / "code"),
            limits=dict(limits or {}),
            fresh=fresh,
        )
        self.pid = _begin(request)

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        if self.runs:
            os.killpg(self.pid, signal.SIGKILL)
            self.wait()
        shutil.rmtree(self._place)

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return not (self._place / "code").exists()

    @property
    def out(self) -> str:
        """What it has written to standard output."""
        return Path(self._out).read_text(errors="replace")

    @property
    def err(self) -> str:
        """What it has written to standard error."""
        return Path(self._err).read_text(errors="replace")

    @property
    def listens(self) -> bool:
        """Whether it has begun to listen to signals (Linux)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        """Its exit code, as subprocess has it; fails when it does not end in time."""
        end = time.monotonic() + patience_s
        while self.runs:
            assert time.monotonic() < end, self.err
            time.sleep(0.01)
        return int((self._place / "code").read_text())


_servers: dict[int, subprocess.Popen[str]] = {}


def _begin(request: _Request) -> int:
    """Let a process run it; its id."""
    server = _servers.get(os.getpid())
    if server is None:
        pipe = subprocess.PIPE
        server = subprocess.Popen([sys.executable, "-m", __name__], stdin=pipe, stdout=pipe, text=True, cwd=_ROOT)
        _servers[os.getpid()] = server
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    return int(server.stdout.readline())


def _load() -> None:
    """Import what commands import while they run."""
    modules = [module.name for module in pkgutil.walk_packages(framepace.__path__, "framepace.")]
    used = [name for name in modules if not name.startswith(UNUSED)]
    for name in (*used, *LIBRARIES):
        with suppress(ImportError):  # of a library that is not installed
            importlib.import_module(name)


def _keep(request: _Request) -> None:
    """Fork the command, and write its exit code when it has ended."""
    pid = os.fork()
    if not pid:
        _run(request)
    os.setpgid(0, 0)
    _, status = os.waitpid(pid, 0)
    part = Path(request.code).with_suffix(".part")
    part.write_text(str(os.waitstatus_to_exitcode(status)))
    part.rename(request.code)


def _run(request: _Request) -> None:
    """The command, which says its id first."""
    import resource

    os.setsid()
    os.write(1, f"{os.getpid()}\n".encode())
    for number, path in ((0, os.devnull), (1, request.out), (2, request.err)):
        os.close(number)
        if path != _CLOSED:
            mode = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT
            opened = os.open(path, mode, 0o600)
            os.dup2(opened, number)  # which lasts over `exec`, too
            if opened != number:
                os.close(opened)
            os.set_inheritable(number, True)
    for name, limit in request.limits.items():
        resource.setrlimit(getattr(resource, name), (limit, limit))
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    if request.fresh:
        os.execv(sys.executable, [sys.executable, "-m", "framepace", *request.arguments])
    sys.argv[1:] = request.arguments
    program = importlib.import_module("framepace.__main__")
    sys.modules["__main__"] = program  # for the processes that it starts
    try:
        program.main()
    except SystemExit as end:
        atexit._run_exitfuncs()
        sys.stderr.flush()
        os._exit(int(end.code or 0))  # Python's own end would look at all that was imported


def _serve() -> None:
    """Fork for every line."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _load()
    gc.freeze()
    for line in sys.stdin:
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _keep(_Request(*json.loads(line)))
            os._exit(0)


if __name__ == "__main__":
    _serve()
