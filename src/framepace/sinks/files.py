"""JSON lines: to a file, rotated by its size where that is asked for, and to standard output."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol

import msgspec

from framepace import values
from framepace.errors import SinkError, SinkUnavailable, UsageError
from framepace.facts.running import Result
from framepace.sinks.base import ResultSink
from framepace.sinks.records import record
from framepace.sinks.sinktext import SinkText

# What may be over some time later; everything else stays as it is until somebody changes it.
_PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EAGAIN, errno.ENOLCK})
_KEPT = 5  # older files beside the one that is written


def lines(results: Sequence[Result]) -> bytes:
    """Each result as a line of JSON."""
    encoder = msgspec.json.Encoder()
    return b"".join(encoder.encode(record(result)) + b"\n" for result in results)


class SystemsError(Protocol):
    """An OSError, or FFmpeg's error of the same kind."""

    errno: int | None
    strerror: str | None


def failed(doing: str, place: object, error: SystemsError) -> SinkError:
    """The error for a file that cannot be opened or written: one that may pass, or one that stays."""
    if error.errno in _PASSING:
        got = f"{place}: {os.strerror(error.errno)}"  # libraries put words of their own before it
        return SinkUnavailable(f"the sink cannot be {doing} now", got=got, fix="make room, or name another place")
    got = f"{place}: {error.strerror or error}"
    return SinkError(f"the sink cannot be {doing}", got=got, fix="name a file in a folder that can be written to")


class _Descriptor(ResultSink):
    """Lines into a file descriptor."""

    _descriptor: int | None = None

    def write(self, results: Sequence[Result]) -> None:
        """Write all lines, or none where the file can be cut back. Raises SinkError, SinkUnavailable."""
        self._append(lines(results))

    def _append(self, data: bytes) -> None:
        assert self._descriptor is not None
        before = self._length()
        try:
            remaining = memoryview(data)
            while remaining:
                remaining = remaining[os.write(self._descriptor, remaining) :]
        except OSError as error:
            if before is not None:
                os.ftruncate(self._descriptor, before)
            raise failed("written", self.name, error) from error

    def _length(self) -> int | None:
        """The bytes in a regular file; None for a pipe, a terminal or a device, which cannot be cut back."""
        assert self._descriptor is not None
        status = os.fstat(self._descriptor)
        return status.st_size if stat.S_ISREG(status.st_mode) else None


class StandardOutput(_Descriptor):
    """JSON lines to standard output.

    Attributes:
        standard_output: its descriptor, in a program that keeps another one for results.
    """

    standard_output: ClassVar[int] = 1

    def __init__(self, text: SinkText) -> None:
        text.check_options(())
        if text.place:
            raise UsageError("standard output takes no place", got=text.name, expected="stdout", fix="--sink stdout")
        self.name = text.name

    def open(self) -> None:
        """Nothing to do: it is open."""
        self._descriptor = self.standard_output

    def close(self) -> None:
        """Leave it open: it is the process's."""
        self._descriptor = None


class JsonLines(_Descriptor):
    """JSON lines to a file, behind what is in it.

    With `rotate` the file that became so large is called NAME.1, what was NAME.1 becomes NAME.2, and so on; `keep` of
    them stay.
    """

    def __init__(self, text: SinkText) -> None:
        text.check_options(("rotate", "keep"))
        self.name = text.name
        self._path = values.path(text.place, "--sink jsonl")
        self._largest = text.size("rotate")
        self._keep = text.whole("keep", _KEPT)

    def open(self) -> None:
        """Open the file, and end the line that a killed process left in it. Raises SinkError, SinkUnavailable."""
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise failed("opened", self._path, error) from error
        length = self._length()
        if length and os.pread(self._descriptor, 1, length - 1) != b"\n":
            self._append(b"\n")

    def write(self, results: Sequence[Result]) -> None:
        """Write all lines or none. Raises SinkError, SinkUnavailable."""
        if self._descriptor is None:  # a rotation went wrong half-way
            self.open()
        data = lines(results)
        length = self._length()
        if self._largest is not None and length and length + len(data) > self._largest:
            self._rotate()
        self._append(data)

    def close(self) -> None:
        """Close the file."""
        descriptor = self._descriptor
        self._descriptor = None
        if descriptor is not None:
            os.close(descriptor)

    def _rotate(self) -> None:
        self.close()
        try:
            for number in range(self._keep - 1, 0, -1):
                if self._older(number).exists():
                    os.replace(self._older(number), self._older(number + 1))
            os.replace(self._path, self._older(1))
        except OSError as error:
            raise failed("rotated", self._path, error) from error
        self.open()

    def _older(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
