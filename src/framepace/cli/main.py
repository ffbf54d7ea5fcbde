"""`framepace`: the one place where errors become sentences and exit codes. The commands are loaded by `main`."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

TRACEBACK = "FRAMEPACE_TRACEBACK"
"""Name of the environment variable that shows where an unexpected error was raised."""


def main() -> None:
    """Run the command line; ends the process.

    Exit codes: 0 done, 1 the answer is no, 2 the command was wrong or its output cannot be written; 130, 143 or 129
    stopped by Ctrl-C, SIGTERM or SIGHUP.
    """
    _quit_on_signals()
    _open_streams()
    code = _interruptible()
    from framepace import interrupts

    interrupts.ignore()
    signum = interrupts.signum()
    if signum is not None:
        _leave_now(interrupts.EXIT_CODES[signum])
    _leave(code)


def _quit_on_signals() -> None:
    """Until there is something to keep, a signal ends the program, with a sentence and its exit code.

    Before anything else is imported, since Python's own answer to Ctrl-C is a traceback; the import of `signal` takes
    longer than all that comes before.
    """
    import _signal  # type: ignore[import-not-found]

    exit_codes = {_signal.SIGINT: 130, _signal.SIGTERM: 143, _signal.SIGHUP: 129}
    names = {_signal.SIGINT: b"interrupted", _signal.SIGTERM: b"SIGTERM", _signal.SIGHUP: b"SIGHUP"}

    def leave(number: int, frame: FrameType | None) -> None:
        os.write(2, names[number] + b": nothing had begun\n")
        os._exit(exit_codes[number])

    for number in exit_codes:
        if _signal.getsignal(number) != _signal.SIG_IGN:  # as `nohup` asks
            _signal.signal(number, leave)


def _interruptible() -> int:
    """Load the commands and run the one that is asked for; its exit code."""
    from framepace import interrupts
    from framepace.cli import standardstreams

    code = 2
    output = standardstreams.take()
    try:
        code = _run()
        interrupts.finish()
    except KeyboardInterrupt:  # the only one: a program is stopped once
        pass
    return output.close(code)


def _open_streams() -> None:
    """Open the standard streams that were closed (`>&-`), or a file opened later would become one of them.

    Writing to such an output stays an error.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)


def _run() -> int:
    """Run the command that the arguments name; its exit code."""
    from framepace.errors import FramepaceError

    _spare_memory()
    try:
        from framepace import interrupts
        from framepace.cli.app import app

        interrupts.listen()
        app()
        return 0
    except SystemExit as error:
        return _code(error)
    except FramepaceError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except MemoryError:
        print("error: there is not enough memory\n  what to do: raise 'ulimit -v' or free memory", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {_sentence(error)}", file=sys.stderr)
        return 2
    except Exception as error:
        if not _is_a_press_in_a_library(error):
            print(f"error: {_failure(error)}", file=sys.stderr)
        return 2


def _is_a_press_in_a_library(error: Exception) -> bool:
    """Whether a signal came while a library's C code was loaded or called, which may raise an error of its own."""
    from framepace import interrupts

    return interrupts.signum() is not None and isinstance(error, ImportError | SystemError)


def _spare_memory() -> None:
    """Where address space is limited (`ulimit -v`), let OpenBLAS compute with one thread.

    With more, each takes 32 MiB while NumPy and SciPy are loaded, and one that gets none asks for ever.
    """
    if _memory_is_limited():
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _memory_is_limited() -> bool:
    try:
        import resource
    except ImportError:  # no such limits here
        return False
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def _code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code
    print(error.code, file=sys.stderr)
    return 1


def _sentence(error: OSError) -> str:
    """An error of the operating system in the form of framepace's errors."""
    import errno

    from framepace.errors import FramepaceError

    fixes = {
        errno.EMFILE: "raise 'ulimit -n'",
        errno.ENFILE: "close other programs: the machine has run out of file handles",
        errno.ENOMEM: "raise 'ulimit -v' or free memory",
        errno.ENOSPC: "free some space",
        errno.EAGAIN: "raise 'ulimit -u'",
    }
    got = error.strerror
    if error.filename is not None:
        got = f"{got}: {error.filename}"
    fix = fixes.get(error.errno or 0)
    if str(error.filename).startswith("/proc/"):
        fix = "mount /proc, which says what machine this is"
    return str(FramepaceError("the system refused", got=got, fix=fix))


def _failure(error: Exception) -> str:
    """An unexpected error in one line; prints its traceback if the environment asks for it."""
    import traceback

    from framepace.errors import FramepaceError

    if os.environ.get(TRACEBACK):
        traceback.print_exception(error)
    got = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    if isinstance(error, ImportError) and ("map segment" in got or "allocate memory" in got or _memory_is_limited()):
        return str(FramepaceError("a library cannot be loaded", got=got, fix="raise 'ulimit -v' or free memory"))
    if isinstance(error, SystemError) and _memory_is_limited():  # from C that checks no allocation
        return str(FramepaceError("memory has run out", got=got, fix="raise 'ulimit -v'"))
    if isinstance(error, RuntimeError) and "start new thread" in got:
        return str(FramepaceError("the system refused", got="no more threads", fix="raise 'ulimit -u' and 'ulimit -v'"))
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("framepace"):
        return str(
            FramepaceError("the installation is not whole", got=got, fix="pip install --force-reinstall framepace")
        )
    fix = f"this is a bug in framepace: please report it, with the traceback that {TRACEBACK}=1 prints"
    return str(FramepaceError("framepace failed", got=got, fix=fix))


def _leave(code: int) -> None:
    """End the process, even if a thread never returns, or a library crashes while Python puts it away.

    One does where memory is limited and it, or one that it needs, was loaded by half.
    """
    import threading

    others = (thread for thread in threading.enumerate() if thread is not threading.main_thread())
    if _memory_is_limited() or not all(thread.daemon for thread in others):
        _leave_now(code)
    sys.exit(code)


def _leave_now(code: int) -> None:
    """End the process with this code, even if something still runs.

    Python itself ends by SIGINT if KeyboardInterrupt has ever left a call of `exec`, even if it was caught later, and
    decorators such as `dataclass` call `exec` while a module is imported.
    """
    import atexit

    atexit._run_exitfuncs()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
