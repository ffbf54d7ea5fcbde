"""One way to stop: the first Ctrl-C ends what runs and keeps what was measured, the second ends the process.

A program `listens` to SIGINT, SIGTERM and SIGHUP from its first line on; the library listens to SIGINT while it
measures. What runs says with `stopped_by` how it is stopped; elsewhere the first signal is a KeyboardInterrupt, and
`held` puts that off where something is begun or put away. A signal is never lost: `check` raises what was swallowed.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NamedTuple

EXIT_CODES: dict[int, int] = {
    int(getattr(signal, name)): code
    for name, code in (("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129))
    if hasattr(signal, name)
}
"""Exit codes by the signal that ended a program."""

INFERENCE_S = 60.0  # for one outside of a run, on a CPU
INFERENCE_ON_DEVICE_S = 300.0  # where libraries try out algorithms
LOADING_S = 300.0  # for a library to make a model ready on a CPU
GRACE_S = 8.0  # after SIGTERM and SIGHUP, which nobody sends twice, to end by itself
ONE_PRESS_S = 0.3  # `timeout` and terminals signal a process and its group: these are one press
_LOOP = "look for a loop without end in the model, or for what takes so long"
_KEEPING = "stopping, and keeping what was measured"
_SECOND = "ended at once"
_LATE = "ended, because it did not stop by itself"
_SHOW_CURSOR = b"\x1b[?25h"  # a progress bar hides it


class _Receiver(NamedTuple):
    """How what runs is stopped, what is said of it, and how long it may take after SIGTERM and SIGHUP."""

    stop: Callable[[], object]
    doing: str
    grace_s: float


class _Press:
    """The first press, and what is done about it. One for the process: its signals are the process's, too."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self.listening = False
        self.owned = False
        self.held = 0
        self.pending = False
        self.receivers: list[_Receiver] = []
        self.at_once: list[Callable[[], object]] = []
        self._first_s = 0.0
        self._announcing = threading.Lock()

    def is_second(self, signum: int) -> bool:
        """Note a press; whether it is a second one."""
        if self.signum is None:
            self._first_s = time.monotonic()
            self.signum = signum
            return False
        return time.monotonic() - self._first_s > ONE_PRESS_S

    def announce(self) -> None:
        """Say, once, what happens now; whichever thread comes first."""
        if self._announcing.acquire(blocking=False):
            again = "press again" if self.signum in (None, signal.SIGINT) else "send it again"
            say(f"{_called(self.signum)}: {self.receiver.doing} ({again} to end at once)\n".encode())

    @property
    def receiver(self) -> _Receiver:
        """What runs, or this program alone."""
        return self.receivers[-1] if self.receivers else _Receiver(check, _KEEPING, GRACE_S)

    def act(self) -> None:
        """Stop what runs. Raises KeyboardInterrupt where nothing says how it is stopped."""
        if self.receivers:
            self.receiver.stop()
        elif self.held:
            self.pending = True
        else:
            raise KeyboardInterrupt

    def reset(self) -> None:
        """Forget a press that was answered."""
        self.signum = None
        self.pending = False


def _called(number: int | None) -> str:
    """What people call a signal: nobody presses SIGTERM."""
    if number is None or number == signal.SIGINT:
        return "interrupted"
    return signal.Signals(number).name


_press = _Press()


def signum() -> int | None:
    """The signal that asked to stop, None while none has come."""
    return _press.signum


def check() -> None:
    """Raise KeyboardInterrupt when a signal has asked to stop."""
    if _press.signum is not None:
        raise KeyboardInterrupt


def answered() -> None:
    """The signal that came was the ordinary way to end this program, which ends without an error."""
    _press.reset()
    ignore()


def at_once(clean: Callable[[], object]) -> None:
    """Call `clean` before a second press ends the process; on any thread."""
    _press.at_once.append(clean)


@contextmanager
def stopped_by(stop: Callable[[], object], doing: str = _KEEPING, grace_s: float = GRACE_S) -> Iterator[None]:
    """Inside, a signal calls `stop` in the main thread, perhaps twice, and raises nothing; an earlier one, too.

    Args:
        doing: what the program says that it does then.
        grace_s: how long it may take to end by itself after SIGTERM or SIGHUP.
    """
    with listening():
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        receiver = _Receiver(stop, doing, grace_s)
        _press.receivers.append(receiver)
        try:
            if _press.signum is not None:
                stop()
            yield
        finally:
            _press.receivers.remove(receiver)


@contextmanager
def held() -> Iterator[None]:
    """Inside, a first signal raises nothing; where the outermost ends, KeyboardInterrupt is raised for it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _press.held += 1
    try:
        yield
    finally:
        _press.held -= 1
    if _press.pending and not _press.held:
        _press.pending = False
        raise KeyboardInterrupt


@contextmanager
def listening() -> Iterator[None]:
    """In the main thread, SIGINT stops as described above; where something listens already, nothing changes."""
    if _press.listening or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def press(number: int, frame: FrameType | None) -> None:
        second = _press.is_second(number)
        if second and callable(before):
            before(number, frame)
        elif not second:
            _press.act()

    _press.listening = True
    signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _press.listening = False
        _press.reset()


def listen() -> None:
    """Let signals stop this program, from now on until it ends. Called by programs only, in their main thread.

    A thread reads the signals, so that a second one ends the process even while the main thread is in a library.
    """
    numbers = _pipe_of_signals()
    _keep_quiet_about_lost_presses()
    _press.listening = True
    own_process()
    acted = threading.Event()

    def press(number: int, frame: FrameType | None) -> None:
        if not acted.is_set():
            acted.set()
            if _press.signum is None:
                _press.is_second(number)
            _press.announce()
            _press.act()

    threading.Thread(target=_read, args=(numbers,), name="signals", daemon=True).start()
    for number in EXIT_CODES:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` asks
            signal.signal(number, press)


def _keep_quiet_about_lost_presses() -> None:
    """A press that comes within a destructor or a callback of the interpreter is dropped there, with a traceback.

    It is not lost: `check` and the end of the program know of it.
    """
    before = sys.unraisablehook

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if _press.signum is None or unraisable.exc_type is not KeyboardInterrupt:
            before(unraisable)

    sys.unraisablehook = hook


def _pipe_of_signals() -> int:
    """The end to read of a pipe into which Python writes the number of every signal."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    return reading


def finish() -> None:
    """The program has done what it was asked: signals are noted, and raise nothing any more."""
    _press.held += 1


def ignore() -> None:
    """Nothing is left to stop: signals no longer do anything."""
    for number in EXIT_CODES:
        signal.signal(number, signal.SIG_IGN)


def _read(pipe: int) -> None:
    """Announce the first press; end the process on the second, or when it does not stop by itself."""
    _read_signals(pipe, None)
    _press.announce()
    grace = None if _press.signum == signal.SIGINT else _press.receiver.grace_s
    how = _SECOND if _read_signals(pipe, grace) else _LATE
    _end(f"{_called(_press.signum)}: {how}\n".encode())


def _read_signals(pipe: int, limit_s: float | None) -> bool:
    """Wait for the first press, after it for a second one; whether it came within the limit."""
    first = _press.signum is None
    while True:
        readable, _, _ = select.select([pipe], [], [], limit_s)
        if not readable:
            return False
        number = os.read(pipe, 1)[0]
        if number in EXIT_CODES and (_press.is_second(number) or first):
            return True


def end(why: str) -> None:
    """End this program at once, with exit code 2, because of something that nothing else can end; on any thread.

    Only a program and its child processes are ended; in another's, nothing happens.
    """
    if _press.owned:
        _end(f"error: {why}\n".encode(), 2)


@contextmanager
def ended_after(seconds: float, what: str, remedy: str = "") -> Iterator[None]:
    """End this program (see `end`) unless what is inside, a call that nothing can stop, returns in time.

    Args:
        remedy: what helps where the call is only slow, such as an option.
    """
    fix = ", or ".join([*([remedy] * bool(remedy)), _LOOP])
    why = f"{what} does not return\n  got: no answer in {seconds:g} s\n  what to do: {fix}"
    timer = threading.Timer(seconds, end, [why])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def own_process() -> None:
    """This process is framepace's own: `end` may end it."""
    _press.owned = True


def _end(why: bytes, code: int | None = None) -> None:
    """End the process, by default with the code of the signal that asked for it."""
    for clean in _press.at_once:
        with suppress(Exception):
            clean()
    say(why)
    if code is None:
        code = EXIT_CODES[_press.signum or signal.SIGINT]
    os._exit(code)


def say(text: bytes) -> None:
    """Write to standard error at once, on its own line."""
    with suppress(OSError):
        if os.isatty(2):
            text = _SHOW_CURSOR + b"\r\n" + text
        os.write(2, text)
