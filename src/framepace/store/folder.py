"""Output folders: one run at a time writes to a folder, and nothing in it is replaced unless asked for."""

from __future__ import annotations

import fcntl
import os
import re
import weakref
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

import msgspec

from framepace.errors import StoreError
from framepace.store.files import cannot_write, is_not_ours, is_part, local, plain_json, read, save_json, write_probe
from framepace.store.identity import differences, without_secrets

Kind = Literal["trace", "sweep", "tuning", "explanation", "capacity", "segments"]
MARKER = "folder.json"
FOLDER_FORMAT = "framepace.folder/1"
MARKER_START = b'{"format":"framepace.folder/'
TRACE_FILES = ("meta.json", "requests.parquet", "telemetry.parquet", "requests.journal", "telemetry.journal")
_LOCK_FILE = ".framepace.lock"  # where a file system cannot lock folders
_TRIES = 10  # a folder that is removed while it is being locked is made again
_DIFFERENCES = 3  # that a refusal spells out


@dataclass(frozen=True)
class _Layout:
    """A kind of result: its name, and the names of the files it writes."""

    title: str
    files: tuple[str, ...] = ()
    folders: re.Pattern[str] = re.compile(r"(?!)")
    record: str | None = None
    record_keys: frozenset[str] = frozenset()

    def has(self, name: str) -> bool:
        """Whether a result of this kind writes a file of that name."""
        return name in self.files or self.folders.fullmatch(name) is not None


# `record` with its `record_keys` is how results are recognised that were written before folders had a marker.
_LAYOUTS: Mapping[Kind, _Layout] = {
    "trace": _Layout("a trace", TRACE_FILES),
    "sweep": _Layout(
        "a sweep", ("sweep.json",), re.compile(r"cell-[0-9a-f]{12}"), "sweep.json", frozenset(("grid", "cells"))
    ),
    "tuning": _Layout(
        "a tuning",
        ("tuning.json", "primitives.json", "plan.yaml", "report.html"),
        re.compile("runs"),
        "tuning.json",
        frozenset(("goal", "candidates")),
    ),
    "explanation": _Layout(
        "an explanation",
        ("explanation.json", "plan.yaml", "report.html"),
        re.compile("stream|pipeline|model|gapless|ahead|tool"),
    ),
    "capacity": _Layout("a capacity", (), re.compile(r"cameras-\d+")),
    "segments": _Layout("a sequence of traces", (), re.compile(r"segment-\d{6,}")),
}


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of folder.json: whose folder it is. `case` is what was measured, without secrets."""

    format: str
    kind: str
    case: Any = None


class OutputFolder:
    """A folder that one run owns while it is entered.

    Entering makes the folder and locks it; the lock goes with the process, however that ends. Leaving removes the
    folder when it was made here and nothing was written to it.

    A folder may hold other files; what a result of this kind would write over has to be its own:

    - a trace is not replaced, unless no row of it was ever written;
    - any other result goes on in its folder when the case is the same.

    Args:
        path: the folder.
        kind: of the result that goes in.
        overwrite: replace what is in the way: an earlier result with all its files, and files of other origin that
            have the same names. Other files stay.
        case: what is measured; a result of another case in the folder is refused, with what differs.

    Raises StoreError, when entered: another run owns it, it holds what must not be replaced, or it cannot be written.
    """

    def __init__(self, path: Path, kind: Kind, overwrite: bool = False, case: Any = None) -> None:
        self.path = path
        self._kind: Kind = kind
        self._layout = _LAYOUTS[kind]
        self._overwrite = overwrite
        self._case = without_secrets(plain_json(case))
        self._made = False
        self._marked = False
        self._unlock: weakref.finalize[Any, OutputFolder] | None = None

    def __enter__(self) -> OutputFolder:
        self.claim()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def claim(self) -> None:
        """Make, lock and check the folder. Idempotent. Raises StoreError."""
        if self._unlock is not None:
            return
        self._lock()
        try:
            write_probe(self.path)
            self._check()
            self._repair()
            if self._kind not in ("trace", "segments"):
                self._marked = True
                save_json(Marker(format=FOLDER_FORMAT, kind=self._kind, case=self._case), self.path / MARKER)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give the folder back. Idempotent."""
        if self._unlock is None:
            return
        with suppress(OSError):
            if self._marked and os.listdir(self.path) == [MARKER]:
                (self.path / MARKER).unlink()
            if self._made:
                self.path.rmdir()  # which fails where something was written
        self._unlock()
        self._unlock = None

    def _lock(self) -> None:
        for _ in range(_TRIES):
            self._make()
            try:
                handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            except OSError as error:
                if isinstance(error, FileNotFoundError) and not self.path.is_symlink():
                    continue
                raise cannot_write(self.path, error) from error
            unlock = weakref.finalize(self, _close, self._locked(handle))
            if self._leads_to(handle):
                self._unlock = unlock
                return
            unlock()
        raise StoreError("something keeps removing the folder", got=self.path, fix="name another folder with --out")

    def _make(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                self.path.mkdir()
                self._made = True
        except (OSError, ValueError) as error:
            raise cannot_write(self.path, _cause(self.path, error)) from error

    def _locked(self, handle: int) -> int:
        """The handle of what is locked: the folder, or a file in it where folders cannot be locked."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise self._busy() from error
        except OSError:
            os.close(handle)
            return self._locked_file()
        return handle

    def _locked_file(self) -> int:
        try:
            handle = os.open(self.path / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise self._busy() from error
        except OSError:  # a file system without locks: the checks remain
            pass
        return handle

    def _busy(self) -> StoreError:
        fix = "wait until it has ended, or name another folder with --out"
        return StoreError("another run is writing to this folder", got=self.path, fix=fix)

    def _leads_to(self, handle: int) -> bool:
        """Whether the path still leads to what `handle` is (a run that ends removes the folder it left empty)."""
        locked = os.fstat(handle)
        for path in (self.path, self.path / _LOCK_FILE):
            with suppress(OSError):
                if os.path.samestat(locked, path.stat()):
                    return True
        return False

    def _check(self) -> None:
        """Raise StoreError for what must not be replaced; with `overwrite`, remove it."""
        in_the_way = [entry for entry in sorted(os.listdir(self.path)) if self._layout.has(entry)]
        obstacle = self._obstacle(in_the_way)
        if obstacle is None:
            return
        if not self._overwrite:
            raise obstacle
        if self._kind != "trace":  # a trace is replaced when its writer begins
            self._clear(in_the_way)

    def _obstacle(self, in_the_way: list[str]) -> StoreError | None:
        """Why the folder cannot be written to as it is."""
        marker = self._marker()
        if marker is not None and self._has_result(marker.kind):
            return self._other_result(marker)
        if self._kind == "segments":
            return None
        if self._kind == "trace":
            return self._trace_there(in_the_way)
        if is_own_trace(self.path):
            return self._refusal("the folder already holds a trace")
        if not in_the_way and marker is None and is_not_ours(self.path / MARKER, MARKER_START):
            in_the_way = [MARKER]
        if not in_the_way or self._is_recognised():
            return None
        return self._refusal("the folder holds files that this would replace", in_the_way)

    def _has_result(self, kind: str) -> bool:
        """Whether a result of that kind has begun in the folder."""
        layouts = [layout for name, layout in _LAYOUTS.items() if name == kind]
        return any(layout.has(name) for layout in layouts for name in os.listdir(self.path))

    def _other_result(self, marker: Marker) -> StoreError | None:
        """Why what the marker names is in the way: it is of another kind, or of another case."""
        title = _title(marker.kind)
        if marker.kind != self._kind:
            return self._refusal(f"the folder already holds {title}")
        lines = differences(marker.case, self._case)
        if not lines:
            return None
        shown = lines[:_DIFFERENCES]
        if len(lines) > len(shown):
            shown.append(f"and {len(lines) - len(shown)} more")
        return self._refusal(f"the folder holds {title} of another case", shown)

    def _trace_there(self, in_the_way: list[str]) -> StoreError | None:
        if not in_the_way:
            return None
        if not is_own_trace(self.path):
            return self._refusal("the folder holds files that this would replace", in_the_way)
        if _has_rows(self.path):
            return self._refusal("the folder already holds a trace")
        return None

    def _refusal(self, what: str, details: list[str] | None = None) -> StoreError:
        got = str(self.path)
        if details:
            got += ": " + "; ".join(details)
        return StoreError(what, got=got, fix="name another folder with --out, or replace it with --overwrite")

    def _marker(self) -> Marker | None:
        """Whose folder it is; None where nothing says so."""
        try:
            marker = msgspec.json.decode(read(self.path / MARKER), type=Marker)
        except (StoreError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return marker if marker.format == FOLDER_FORMAT else None

    def _is_recognised(self) -> bool:
        """Whether the folder holds a result of this kind that was written before folders had a marker."""
        if self._layout.record is None:
            return False
        return self._layout.record_keys <= _keys(self.path / self._layout.record)

    def _clear(self, in_the_way: list[str]) -> None:
        """Remove what an earlier result left; of folders only the traces in them."""
        marker = self._marker()
        names = set(in_the_way)
        layouts = [layout for kind, layout in _LAYOUTS.items() if marker is not None and marker.kind == kind]
        names |= {name for layout in layouts for name in os.listdir(self.path) if layout.has(name)}
        if is_own_trace(self.path):
            names |= set(TRACE_FILES)
        try:
            for name in sorted(names):
                _remove(self.path / name)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _repair(self) -> None:
        """Remove what a killed run left half written."""
        for name in os.listdir(self.path):
            if is_part(name):
                with suppress(OSError):
                    (self.path / name).unlink()


def new_folder(parent: Path, name: str) -> Path:
    """Make a folder `name` in `parent`, with a number behind the name where there is one already. Raises StoreError."""
    for number in count(1):
        path = parent / (name if number == 1 else f"{name}-{number}")
        try:
            parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
        except FileExistsError as error:
            if not parent.is_dir():
                raise cannot_write(parent, error) from error
        except OSError as error:
            raise cannot_write(path, error) from error
        else:
            return path
    raise AssertionError("unreachable")


def is_own_trace(folder: Path) -> bool:
    """Whether `folder` has the meta.json of a trace that framepace wrote, whole or not."""
    return str(_contents(folder / "meta.json").get("format", "")).startswith("framepace.trace/")


def _cause(path: Path, error: Exception) -> Exception:
    """The error itself, or what looking at the path answers, which says more than 'File exists'."""
    try:
        if isinstance(error, FileExistsError):
            path.stat()
    except OSError as answer:
        return answer
    return error


def _title(kind: str) -> str:
    titles = [layout.title for name, layout in _LAYOUTS.items() if name == kind]
    return titles[0] if titles else "another result"


def _has_rows(folder: Path) -> bool:
    """Whether a trace has any request to lose."""
    journal = folder / "requests.journal"
    if journal.exists() and journal.stat().st_size > 0:
        return True
    table = folder / "requests.parquet"
    return table.exists() and _row_count(table) != 0


def _row_count(table: Path) -> int:
    """Rows of a Parquet file; -1 if unknown."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(local(table)).num_rows)
    except (OSError, pa.ArrowException):
        return -1


def _keys(path: Path) -> frozenset[str]:
    return frozenset(_contents(path))


def _contents(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one where there is none."""
    try:
        return msgspec.json.decode(read(path), type=dict[str, Any])
    except (StoreError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _remove(path: Path) -> None:
    """Remove a file, or the traces in a folder and the folder when nothing else is in it."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    if is_own_trace(path):
        for name in (*TRACE_FILES, "report.html"):
            (path / name).unlink(missing_ok=True)
    for inner in _folders(path):
        _remove(inner)
    with suppress(OSError):
        path.rmdir()


def _folders(path: Path) -> Iterator[Path]:
    return (inner for inner in sorted(path.iterdir()) if inner.is_dir() and not inner.is_symlink())


def _close(handle: int) -> None:
    """Unlock before closing: a child process that was forked may hold the folder open, too."""
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_UN)
    with suppress(OSError):
        os.close(handle)
