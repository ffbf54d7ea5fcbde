"""Child processes: started, called, answered, ended. They ignore Ctrl-C and do not outlive their parent.

Each is in its own process group, so that a signal to the parent's group (Ctrl-C, a closing terminal, `timeout`)
reaches the parent alone, which decides. None takes a signal before it can answer it: the three that stop a program are
blocked while it starts.

The parent has a `ChildProcess` with one or several `Channel`s. The child runs a function of some module with the other
ends of the channels; it sends what it makes, and errors as they are: the parent raises them.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from framepace import interrupts
from framepace.errors import BackendError
from framepace.progress import Tell

GUARD = "a script that starts processes does its work under: if __name__ == '__main__'"
PATIENCE_S = 5.0  # for a process to end by itself
_PR_SET_PDEATHSIG = 1  # prctl(2)


_CHILDREN: weakref.WeakSet[BaseProcess] = weakref.WeakSet()


def kill_all() -> None:
    """Kill all children of this process at once; theirs die with them."""
    for process in tuple(_CHILDREN):
        with suppress(ValueError):  # closed
            process.kill()


interrupts.at_once(kill_all)


class Progress(NamedTuple):
    """Sent by a child before its answer: what takes long, and the share of it that is done (see progress.Tell)."""

    text: str
    share: float | None


class Channel:
    """The parent's end of a pipe to a child. Calls are answered in order; one thread uses it."""

    def __init__(self, title: str, pipe: Connection, process: BaseProcess) -> None:
        self.pipe = pipe
        self._title = title
        self._process = process
        self._unanswered = 0

    def send(self, message: Any) -> None:
        """Raises BackendError when the process has died."""
        try:
            self.pipe.send(message)
        except OSError as error:
            raise self._died() from error

    def receive(self, tell: Tell | None = None) -> Any:
        """The next message; progress on the way to it is passed to `tell`.

        Raises what the child sent as an error, and BackendError when the process has died (KeyboardInterrupt when a
        signal had asked to stop).
        """
        try:
            while isinstance(message := self.pipe.recv(), Progress):
                if tell is not None:
                    tell(*message)
        except (EOFError, OSError) as error:
            raise self._died() from error
        if isinstance(message, BaseException):
            raise message
        return message

    def call(self, method: str, *arguments: Any) -> None:
        """Call `method` of what the child serves (see `serve_calls`) without waiting. Raises as `send` does."""
        self.send((method, arguments))
        self._unanswered += 1

    def answer(self, tell: Tell | None = None) -> Any:
        """The answer to the oldest call. Raises as `receive` does."""
        self._unanswered -= 1
        return self.receive(tell)

    def hang_up(self, method: str) -> None:
        """Let the child, if it lives, finish its calls and then `method`."""
        with suppress(Exception):
            while self._unanswered:
                with suppress(Exception):
                    self.answer()
            self.call(method)
            self.answer()

    def _died(self) -> BackendError:
        interrupts.check()
        self._process.join(timeout=PATIENCE_S)
        code = self._process.exitcode or 0
        ending = f"exit code {code}"
        if code < 0:
            ending = signal.Signals(-code).name
        return BackendError(f"{self._title} died", got=ending, fix=f"see its message above; {GUARD}")


class ChildProcess:
    """A process that runs `body(pipes, *arguments)`, a function that can be imported.

    Args:
        title: what errors call it.
        pipes: how many channels it has; `channels` are the parent's ends.
        takes_interrupts: whether SIGINT interrupts it: KeyboardInterrupt, from the first line of `body` on and not
            before. Otherwise it ignores SIGINT.
        daemon: whether it ends with the parent's interpreter; such a process can start none itself.
    """

    def __init__(
        self,
        title: str,
        body: Callable[..., None],
        *arguments: Any,
        pipes: int = 1,
        takes_interrupts: bool = False,
        daemon: bool = True,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        pairs = _pipes(context, title, pipes)
        child_ends = [child_end for _, child_end in pairs]
        started_by_thread = threading.current_thread() is not threading.main_thread()
        self._process = context.Process(
            target=_main,
            args=(body, child_ends, arguments, takes_interrupts, started_by_thread),
            name=title,
            daemon=daemon,
        )
        try:
            with interrupts.held(), _signals_blocked():
                self._process.start()
                _CHILDREN.add(self._process)
        except OSError as error:
            fix = "raise 'ulimit -n' and 'ulimit -u', or run fewer processes"
            raise BackendError(f"{title} cannot be started", got=error.strerror or error, fix=fix) from error
        except KeyboardInterrupt:
            self._process.kill()
            raise
        finally:
            for child_end in child_ends:
                child_end.close()
        self.channels = [Channel(title, parent_end, self._process) for parent_end, _ in pairs]

    @property
    def channel(self) -> Channel:
        """The first channel."""
        return self.channels[0]

    def interrupt(self) -> None:
        """Send SIGINT, if it still runs."""
        assert self._process.pid is not None
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGINT)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def wait_or_kill(self, patience_s: float) -> None:
        """Wait until it has ended; kill it after `patience_s`."""
        self._process.join(timeout=patience_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def end(self) -> None:
        """Close the channels, which ends a child that listens; kill it when it has not ended in time. Idempotent."""
        end_all([self])


def end_all(children: Sequence[ChildProcess]) -> None:
    """`end` several children at once."""
    for child in children:
        for channel in child.channels:
            channel.pipe.close()
    deadline = time.monotonic() + PATIENCE_S
    for child in children:
        child.wait_or_kill(max(0.0, deadline - time.monotonic()))


def serve_calls(pipe: Connection, methods: Mapping[str, Callable[..., Any]]) -> None:
    """In the child: answer the calls of a channel until the parent hangs up."""
    with suppress(EOFError, OSError):
        while True:
            method, arguments = pipe.recv()
            try:
                answer = methods[method](*arguments)
            except Exception as error:
                answer = sendable(error)
            pipe.send(answer)


def sendable(error: Exception) -> Exception:
    """The error, or its text where it does not survive pickling."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(str(error))
    return error


def _pipes(context: Any, title: str, number: int) -> list[tuple[Connection, Connection]]:
    """Pairs of connected ends. Raises BackendError where the system refuses them."""
    pairs: list[tuple[Connection, Connection]] = []
    try:
        for _ in range(number):
            pairs.append(context.Pipe())
    except OSError as error:
        for ends in pairs:
            for end in ends:
                end.close()
        raise BackendError(f"{title} cannot be started", got=error.strerror, fix="raise 'ulimit -n'") from error
    return pairs


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """No signal that stops a program comes to this thread meanwhile, nor to the process that it starts."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which unblocks them when it starts its own process
    before = signal.pthread_sigmask(signal.SIG_BLOCK, interrupts.EXIT_CODES)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _main(
    body: Callable[..., None],
    pipes: list[Connection],
    arguments: tuple[Any, ...],
    takes_interrupts: bool,
    started_by_thread: bool,
) -> None:
    """The first function of every child."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    _die_with_parent(started_by_thread)
    interrupts.own_process()
    with suppress(KeyboardInterrupt):  # `body` answers those that come while it runs
        _unblock_signals(takes_interrupts)
        body(pipes, *arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _unblock_signals(takes_interrupts: bool) -> None:
    """Let signals in again, without those that the parent got as well; an interrupt that it sent comes now."""
    interrupted = signal.default_int_handler if takes_interrupts else signal.SIG_IGN
    others = {number: signal.getsignal(number) for number in interrupts.EXIT_CODES if number != signal.SIGINT}
    signal.signal(signal.SIGINT, interrupted)
    for number in others:
        signal.signal(number, signal.SIG_IGN)  # forgets those that wait
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupts.EXIT_CODES)
    for number, handler in others.items():
        signal.signal(number, handler)


def _die_with_parent(started_by_thread: bool) -> None:
    """Let the kernel kill this process when its parent dies, by SIGKILL too.

    The kernel means the parent's *thread* (prctl(2)): where that was not the main one, which lives as long as the
    process, and on systems without prctl, a thread waits for the parent's end instead.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    if sys.platform == "linux" and not started_by_thread:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent.pid:  # it died before the call above
            os._exit(1)
        return
    threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()


def _exit_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
