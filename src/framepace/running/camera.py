"""A source of a run: what is read for it, which of its pictures are taken, and in which state it is."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from framepace.clock.system import Clock
from framepace.errors import SourceError, UsageError, one_line
from framepace.facts.address import expanded, shown
from framepace.facts.running import SourceSpec, SourceState
from framepace.facts.trace import DropCause
from framepace.inputfile import shown as shown_path
from framepace.running.account import Account
from framepace.running.skipping import CatchingUp, LeavingOut, Thinning
from framepace.units import NS_PER_S
from framepace.video.backoff import Backoff
from framepace.video.choice import Choice, LeavesOut
from framepace.video.file import VideoFile
from framepace.video.history import sides
from framepace.video.live import TIMEOUT_S, Connection, LiveStream, open_container, open_stream
from framepace.video.paced import PacedFile, PictureFolder
from framepace.video.source import SYNTHETIC, open_source

_BEHIND_NS = NS_PER_S  # pictures that are decoded may be so far behind, or their source's `max_age`
_LOOK_NS = 50_000_000  # between two pictures that are decoded while a source catches up
_STALE_NS = 2 * NS_PER_S  # without a picture, after which a source that is connected is stale
_SPREAD = 0.5  # of the waits between attempts
_STANDARD_INPUT = "-"
_STANDARD_INPUT_S = (30.0, 3600.0)  # to begin, and to go on: whoever writes may pause
_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "rtp", "tcp")
_PROBE_S = 1.0
_FIX_NAME = "correct the path; a name before '=' is of letters, digits, '.', '_' and '-' (in a file of sources of any)"
_MOST_SKIPPED = 10_000
"""Of so many pictures one is taken of a source that is paused: its connection stays."""


class Reader(Protocol):
    """Reads pictures for a camera, and opens again what breaks."""

    state: Connection
    why: str
    reconnections: int

    @property
    def remarks(self) -> list[str]:
        """What is wrong with what it reads."""

    def read(self) -> Any:
        """The next picture; None at the end, or after `close`."""

    def close(self) -> None:
        """End the reading; any thread may call it."""


class _Evenly(Choice):
    """An even share of the pictures of one source, chosen before they are decoded where that is possible.

    Called by the thread that reads.

    Args:
        skipped: called for each picture that is not decoded.
        on_lost: the same, where it is not decoded because the source is behind.
    """

    def __init__(self, thinning: Thinning, clock: Clock, skipped: Callable[[], object], on_lost: Callable[[], object]):
        self.thinning = thinning
        self._clock = clock
        self._skipped = skipped
        self._on_lost = on_lost
        self._leaving_out = LeavingOut()
        self._level: LeavesOut = "NONE"
        self._was_asked = False
        self._wanted_at = 0

    @property
    def leaves_out(self) -> LeavesOut:  # type: ignore[override]
        """See Choice."""
        return "NONKEY" if self.catches_up else self._level

    def wants(self) -> bool:
        """See Choice."""
        if self.catches_up:
            return self._is_worth_a_look()
        self._was_asked = True
        return self.thinning.takes()

    def _is_worth_a_look(self) -> bool:
        """Whether to decode a picture to see how far behind the source is now."""
        now = self._clock.now()
        if now - self._wanted_at < _LOOK_NS:
            return False
        self._wanted_at = now
        return True

    def lost(self) -> None:
        """See Choice."""
        self._on_lost()

    def left_out(self, is_key: bool) -> None:
        """See Choice."""
        if self.catches_up:
            self.lost()
            return
        if not self._was_asked:
            self.thinning.passed()
        self._was_asked = False
        self._leaving_out.left_out(is_key, self._level)
        self._level = self._leaving_out.level(self.thinning.every)
        self._skipped()

    def takes(self, is_key: bool) -> bool:
        """Whether a picture that was decoded is taken."""
        if self.thinning.every <= 1:  # as nearly always
            self._leaving_out.count(is_key)
            self._level = "NONE"
            self._was_asked = False
            return True
        self._leaving_out.decoded(is_key, self._level)
        self._level = self._leaving_out.level(self.thinning.every)
        if self._was_asked:
            self._was_asked = False
            return True
        return self.thinning.takes()


class Camera:
    """One source: its reader, its account, and the pictures of it that are taken.

    `read` is called by the thread of the source in the feed; the rest by any.

    Args:
        phase: of a step, 0 to 1, where only one of several pictures is taken.
        first: the picture that a file begins with.
        gpu: decodes files and network streams, where one is named (see video.file.VideoFile).
    """

    live = True

    def __init__(
        self,
        spec: SourceSpec,
        account: Account,
        clock: Clock,
        *,
        phase: float = 0.0,
        first: int = 0,
        gpu: int | None = None,
    ) -> None:
        self.spec = spec
        self._gpu = gpu
        self._first = first
        self.account = account
        self.size: tuple[int, int] | None = None
        self._clock = clock
        self._last_picture: int | None = None
        self._choice = _Evenly(_thinning(spec, phase), clock, self._skip, self._lose)
        self._catching_up = CatchingUp()
        self._ended = ""
        self._state_at_end: SourceState | None = None
        self._reader = self._open()

    @property
    def every(self) -> int:
        """Of how many pictures one is taken, about."""
        return max(1, round(self._choice.thinning.every))

    @property
    def state(self) -> SourceState:
        """In which state it is now."""
        if self._state_at_end is not None:
            return self._state_at_end
        if self._ended:
            return "ended"
        if self._reader.state == "live" and self._silent_ns() > _STALE_NS:
            return "stale"
        return self._reader.state

    @property
    def note(self) -> str:
        """Why it is not live, and what is wrong with what it sends; '' where there is nothing to say."""
        return "; ".join(filter(None, [self._why(), *self._reader.remarks]))

    def _why(self) -> str:
        """Why it is not live; '' where it is."""
        state = self.state
        if state == "stale":
            return f"no picture for {self._silent_ns() / NS_PER_S:.0f} s"
        if state == "ended":
            return self._ended
        return "" if state == "live" else self._reader.why

    @property
    def file(self) -> str | None:
        """The video file that it reads; None where it is another kind of source."""
        path = self.spec.address.removeprefix("file://")
        if "://" in path or path.startswith("/dev/") or not Path(path).is_file():
            return None
        return path

    @property
    def sets_no_pace(self) -> bool:
        """Whether its pictures come as fast as they are inferred: a file if that is wanted, a folder always."""
        return self.spec.pace == "free" or _is_folder(expanded(self.spec.address, os.environ))

    @property
    def knows_its_times(self) -> bool:
        """Whether its pictures have times of their own, as those of a file, by which it sees how far behind it is."""
        return isinstance(self._reader, PacedFile)

    @property
    def reconnections(self) -> int:
        """How often it was connected again."""
        return self._reader.reconnections

    def adopt(self, spec: SourceSpec) -> None:
        """Take over what changed, without connecting anew."""
        self.spec = spec
        if spec.every != "adaptive":
            self.set_every(spec.every)

    def set_every(self, every: float) -> None:
        """Take one of so many pictures from now on."""
        self._choice.thinning.every = min(float(_MOST_SKIPPED), max(1.0, every))

    def pause(self) -> None:
        """Take next to no picture; the connection stays."""
        self.set_every(_MOST_SKIPPED)

    def read(self) -> Any:
        """The next picture that is taken; None at the end."""
        try:
            while (picture := self._reader.read()) is not None:
                self._note(picture)
                if isinstance(self._reader, PacedFile):
                    self.follow(self._clock.now(), self._reader.behind)
                if self._choice.takes(bool(getattr(picture, "key_frame", False))):
                    return picture
                self._skip()
        except Exception as error:  # whatever a library raises, it is this source's end and nobody else's
            self._ended = one_line(error)
            return None
        self._ended = self._ended or self._reader.why or "its end was reached"
        return None

    def follow(self, now: int, behind: int) -> None:
        """Leave pictures out before they are decoded while those that come out at `now` are too far behind (ns)."""
        self._catching_up.limit = min(_BEHIND_NS, self.account.max_age or _BEHIND_NS)
        self._choice.catches_up = self._catching_up.look(now, behind)

    def fail(self, error: Exception) -> None:
        """It has ended, with an error that nobody expects."""
        self._ended = one_line(error)

    def close(self) -> None:
        """End the reading; it stays in the state it is in."""
        self._state_at_end = self.state
        self._reader.close()

    def _note(self, picture: Any) -> None:
        self._last_picture = self._clock.now()
        self.size = sides(picture)

    def _lose(self) -> None:
        self.account.lose(self._clock.now(), DropCause.BEHIND)

    def _skip(self) -> None:
        self.account.skip(self._clock.now())

    def _silent_ns(self) -> int:
        if self._last_picture is None:
            return 0
        return self._clock.now() - self._last_picture

    def _open(self) -> Reader:
        """What reads the source; nothing is opened yet. Raises UsageError for an address that cannot be one."""
        importlib.import_module("av.filter")  # by one thread, since PyAV's modules import each other
        address = expanded(self.spec.address, os.environ)
        if _is_stream(address):
            scheme = checked_scheme(address)
            address = scheme + address[len(scheme) :]
        if address == _STANDARD_INPUT:
            name = "standard input"
            opens = partial(open_container, "pipe:0", {}, _STANDARD_INPUT_S, name=name)
            return self._stream(name, opens, once=True)
        if address.startswith("/dev/video"):
            return self._stream(address, partial(_open_device, address))
        if _is_stream(address):
            return self._stream(address, partial(open_stream, address, TIMEOUT_S, self.spec.transport, gpu=self._gpu))
        return self._file(address.removeprefix("file://"))

    def _stream(self, address: str, opens: Callable[[], Any], *, once: bool = False) -> LiveStream:
        return LiveStream(
            address,
            self._clock,
            must_answer=False,
            opens=opens,
            reopens=not once,
            backoff=Backoff(_SPREAD),
            choice=self._choice,
        )

    def _file(self, path: str) -> PacedFile:
        opens: Callable[[], Any] = partial(open_source, path, loop=self.spec.loop, gpu=self._gpu, choice=self._choice)
        if _is_folder(path):
            opens = partial(PictureFolder, Path(path), self.spec.loop)
        if self._first:
            opens = partial(_opened_at, opens, self._first)
        return PacedFile(path, self._clock, opens, is_paced=not self.sets_no_pace, backoff=Backoff(_SPREAD))


def _thinning(spec: SourceSpec, phase: float) -> Thinning:
    return Thinning(1 if spec.every == "adaptive" else spec.every, phase)


def check_address(spec: SourceSpec) -> None:
    """Raises UsageError or SourceError for an address that can never be opened: a missing file, variable or protocol.

    Cameras that do not answer are no error.
    """
    address = expanded(spec.address, os.environ)
    if address in (_STANDARD_INPUT, SYNTHETIC) or address.startswith("/dev/video"):
        return
    if _is_stream(address):
        checked_scheme(address)
        return
    path = Path(address.removeprefix("file://"))
    if not path.exists():
        fix = _FIX_NAME if "=" in address else "correct the path"
        raise SourceError(
            f"there is no file for the source {spec.name!r}",
            got=shown_path(str(path)),
            expected="a video file, a folder of pictures, or a stream's address",
            fix=fix,
        )
    if _is_folder(address):
        PictureFolder(path, loop=False)
    else:
        VideoFile(str(path), loop=False).close()


def check_standard_input(addresses: Sequence[str]) -> None:
    """Raises UsageError where more than one source reads it: each would get a part of the bytes."""
    if addresses.count(_STANDARD_INPUT) > 1:
        fix = "name files or streams for all but one"
        raise UsageError("standard input has two sources", got="-", expected="one at most", fix=fix)


def _is_folder(address: str) -> bool:
    return not _is_stream(address) and address != SYNTHETIC and Path(address.removeprefix("file://")).is_dir()


def _is_stream(address: str) -> bool:
    return "://" in address and not address.startswith("file://")


def checked_scheme(address: str) -> str:
    """The scheme of a stream's address as FFmpeg knows it, in small letters. Raises UsageError where it knows none."""
    scheme = address.partition("://")[0].lower()
    if scheme in _SCHEMES or _is_known(scheme):
        return scheme
    raise UsageError(
        "no stream can be read by this protocol",
        got=shown(address),
        expected=f"one of {', '.join(_SCHEMES)}, or another that PyAV's FFmpeg was built with",
        fix="correct the address",
    )


def _is_known(scheme: str) -> bool:
    """Whether FFmpeg was built with this protocol; asked by an address that is nowhere."""
    import av

    try:
        av.open(f"{scheme}://", timeout=(_PROBE_S, _PROBE_S)).close()
    except av.ProtocolNotFoundError:
        return False
    except (av.FFmpegError, OSError, ValueError):  # of a protocol that it has
        return True
    return True


def _opened_at(opens: Callable[[], Any], first: int) -> Any:
    """A file from picture number `first` on."""
    file = opens()
    file.pass_over(first)
    return file


def _open_device(path: str) -> Any:
    if not Path(path).exists():
        raise SourceError("there is no such camera", got=shown(path), expected="a device such as /dev/video0", fix="")
    return open_container(path, {}, TIMEOUT_S, kind="v4l2")
