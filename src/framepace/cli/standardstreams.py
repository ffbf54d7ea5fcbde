"""Standard output is for results alone, and one that is closed, full or gone is no traceback.

What else writes to it meanwhile - a user's hook, a library, a program that they start - writes to standard error.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import wraps
from typing import IO, Any, TypeVar, cast

_F = TypeVar("_F", bound=Callable[..., Any])


class _Stream(io.FileIO):
    """A descriptor to which writing never fails: what cannot be written goes nowhere, and `error` says why."""

    error: OSError | None = None
    reader_gone = False

    def write(self, data: Any) -> int:
        """Write all of `data`, or lose it."""
        view = memoryview(data).cast("B")
        size = len(view)
        try:
            while view and self.error is None and not self.reader_gone:
                view = view[super().write(view) or 0 :]
        except BrokenPipeError:  # as `| head` does
            self.reader_gone = True
        except OSError as error:
            self.error = error
        return size


class Output:
    """The program's standard output."""

    def __init__(self, stream: _Stream | None, text: IO[str]) -> None:
        self._stream = stream
        self._text = text

    def close(self, code: int) -> int:
        """Write what is left; the exit code: `code`, or 2 where the result could not be written."""
        self._text.flush()
        error = None if self._stream is None else self._stream.error
        if error is None:
            return code
        print(f"error: standard output cannot be written\n  got: {error.strerror}", file=sys.stderr)
        return 2


def take() -> Output:
    """Make standard output and error safe to write to, for the rest of the program."""
    errors = _text(_Stream(2, "wb", closefd=False), sys.stderr, by_line=True)
    sys.stderr = cast("Any", errors)
    results = os.dup(1)
    if _writable(2):
        os.dup2(2, 1)
    _descriptors.append(results)
    stream = _Stream(results, "wb")
    sys.stdout = cast("Any", _text(stream, sys.stdout))
    return Output(stream, sys.stdout)


def results_descriptor() -> int:
    """The descriptor of standard output, for what writes to it by itself."""
    return _descriptors[-1] if _descriptors else 1


def _writable(number: int) -> bool:
    try:
        os.write(number, b"")
    except OSError:
        return False
    return True


def _text(stream: _Stream, before: Any, by_line: bool = False) -> io.TextIOWrapper:
    encoding = "utf-8" if before is None else before.encoding
    by_line = by_line or stream.isatty()
    buffer = io.BufferedWriter(stream)
    return io.TextIOWrapper(buffer, encoding=encoding, errors="backslashreplace", line_buffering=by_line)


_results: list[IO[str]] = []
_descriptors: list[int] = []


def apart(command: _F) -> _F:
    """The command, during which standard output is standard error, except where it is `answering`."""

    @wraps(command)
    def with_results_apart(*arguments: Any, **options: Any) -> Any:
        _results.append(sys.stdout)
        try:
            with redirect_stdout(sys.stderr):
                return command(*arguments, **options)
        finally:
            _results.pop()

    return cast("_F", with_results_apart)


@contextmanager
def answering() -> Iterator[None]:
    """Inside, standard output is the program's."""
    with redirect_stdout(_results[-1] if _results else sys.stdout):
        yield
