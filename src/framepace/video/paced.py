"""Files as cameras: each picture comes when the file shows it, or as soon as it can be read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from framepace.clock.system import Clock
from framepace.errors import SourceError, one_line
from framepace.facts.address import shown
from framepace.units import NS_PER_S
from framepace.video.backoff import Backoff, pause, wait_unless
from framepace.video.file import PICTURES, VideoFile
from framepace.video.live import Connection
from framepace.video.remarks import RATE_VARIES

_LONGEST_GAP_NS = 10 * NS_PER_S  # between the times of two pictures: the file began again, or its times are damaged


class Pictures(Protocol):
    """What a file gives: `read` the next picture, None at its end.

    Attributes:
        notes: sentences on damage, and on what a reader of the results should know.
    """

    notes: list[str]

    @property
    def left_out(self) -> int:
        """How many pictures were not decoded before the last one."""

    def read(self) -> Any:
        """The next picture."""

    def close(self) -> None:
        """Free what is open."""


class PacedFile:
    """Pictures of a file that is opened by the first `read`, and tried again while it cannot be opened.

    Args:
        opens: opens the file. Raises SourceError.
        is_paced: a picture comes no sooner than its time in the file, counted from the first one.

    Attributes:
        behind: how much later than its time the last picture came (ns).
    """

    live = True

    def __init__(
        self, name: str, clock: Clock, opens: Callable[[], Pictures], *, is_paced: bool, backoff: Backoff | None = None
    ) -> None:
        self.name = shown(name)
        self.state: Connection = "connecting"
        self.why = ""
        self.reconnections = 0
        self._clock = clock
        self._opens = opens
        self._is_paced = is_paced
        self._backoff = backoff or Backoff()
        self._file: Pictures | None = None
        self._notes: list[str] = []  # of the file
        self._closed = False
        self._owner = threading.Lock()
        self._shown_at: int | None = None  # when the last picture was to be shown
        self._last_stamp = 0
        self._gap = 0
        self.behind = 0

    @property
    def remarks(self) -> list[str]:
        """What is wrong with the file, as far as it was read. That its rate varies is none: it has its own times."""
        return [note for note in self._notes if not note.startswith(RATE_VARIES)]

    def read(self) -> Any:
        """The next picture at its time; None at the end of the file, or after `close`."""
        with self._owner:
            picture = None
            if not self._closed:  # what is closed must not be read: PyAV would read freed memory
                picture = self._next()
            if self._closed:
                self._shut()
                return None
            return picture

    def _next(self) -> Any:
        if self._file is None:
            self._file = self._opened()
        if self._file is None:
            return None
        picture = self._file.read()
        if picture is not None and not self._wait_for(picture):
            return None
        return picture

    def close(self) -> None:
        """End the reading; any thread may call it."""
        self._closed = True
        if self._owner.acquire(blocking=False):
            self._shut()
            self._owner.release()

    def _opened(self) -> Pictures | None:
        """The file, as soon as it can be opened; None when it is closed before that."""
        while not self._closed:
            try:
                file = self._opens()
            except SourceError as error:
                self.state = "lost"
                self.why = one_line(error)
            else:
                self.state = "live"
                self._notes = file.notes
                return file
            pause(lambda: self._closed, self._clock, self._backoff.next_s())
        return None

    def _wait_for(self, picture: Any) -> bool:
        """Wait until the picture is to be shown; false when the file was closed meanwhile."""
        if not self._is_paced:
            return not self._closed
        now = self._clock.now()
        self._shown_at = now if self._shown_at is None else self._shown_at + self._after_last(picture)
        self._last_stamp = _stamp(picture)
        self.behind = max(0, now - self._shown_at)
        return wait_unless(lambda: self._closed, self._clock, self._shown_at)

    def _after_last(self, picture: Any) -> int:
        """How long after the last picture this one is to be shown (ns)."""
        left_out = 0 if self._file is None else self._file.left_out
        gap = _stamp(picture) - self._last_stamp
        if 0 <= gap < _LONGEST_GAP_NS + left_out * NS_PER_S:
            self._gap = self._gap if left_out else gap
            return gap
        return self._gap * (left_out + 1)  # begun again: as long as the last one came after the one before

    def _shut(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _stamp(picture: Any) -> int:
    """When a picture is shown, by its file (ns); 0 where that does not say."""
    return round((getattr(picture, "time", None) or 0.0) * NS_PER_S)


class PictureFolder:
    """The pictures of a folder in the order of their names, again and again when `loop`.

    Files whose names are no picture's are left out; so are those that cannot be read, which `notes` tells.

    Raises SourceError for a folder without any.
    """

    left_out = 0

    def __init__(self, path: Path, loop: bool) -> None:
        if not any(_pictures_in(path)):
            raise SourceError(
                "the folder holds no picture",
                got=shown(str(path)),
                expected=f"files that end in {', '.join(sorted(PICTURES))}",
                fix="name another folder",
            )
        self.notes: list[str] = []
        self._unread: dict[str, str] = {}  # why, by name
        self._pictures = self._all(path, loop)

    def read(self) -> Any:
        """The next picture; None at the end."""
        return next(self._pictures, None)

    def pass_over(self, count: int) -> None:
        """Go on with the picture after the next `count` ones."""
        for _ in range(count):
            if self.read() is None:
                return

    def close(self) -> None:
        """Nothing stays open between two pictures."""

    def _all(self, path: Path, loop: bool) -> Iterator[Any]:
        while True:
            count = 0
            for file in _pictures_in(path):
                picture = self._decoded(file)
                if picture is not None:
                    count += 1
                    yield picture
            if not loop or not count:
                return

    def _decoded(self, path: Path) -> Any:
        """The picture in a file, the first of several; None where it cannot be read."""
        try:
            file = VideoFile(str(path), loop=False)
        except SourceError as error:
            self._unread.setdefault(path.name, one_line(error))
            name, why = next(iter(self._unread.items()))
            self.notes[:] = [f"files that could not be read: {len(self._unread)}, the first {name}: {why}"]
            return None
        picture = file.read()
        file.close()
        return picture


def _pictures_in(path: Path) -> list[Path]:
    """Hidden files are none: other systems leave such beside those that they copy."""
    named = (file for file in path.iterdir() if file.suffix.lower() in PICTURES)
    return sorted(file for file in named if file.is_file() and not file.name.startswith("."))
