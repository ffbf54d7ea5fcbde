"""Why no inference of a program was seen, as far as that can be told, and what to do. Pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping, Sequence

from framepace.attaching.calls import ProcessFacts
from framepace.attaching.ending import Ended
from framepace.errors import UsageError

_SEEN = "attach sees Python programs that infer with onnxruntime, tensorrt, torch or cv2.dnn, or by tritonclient"
_ISOLATED = re.compile(r"-[A-Za-z]*[EIS][A-Za-z]*")
_TIME = "where it takes longer to start (an engine that is built), allow that: --start-limit {:.0f}"
_LOST = "with which the rows of the last half of a second are lost"


class NothingSeen(UsageError):
    """A program of which no inference was seen; `exit_code` is the program's own."""


def nothing_seen(
    command: Sequence[str],
    ended: Ended,
    processes: Sequence[ProcessFacts],
    calls: Mapping[str, int],
    start_limit: float,
) -> NothingSeen:
    """The error.

    Args:
        processes: those that the probe was in, with or without calls.
        calls: how often each call was made.
        start_limit: seconds to its first inference, after which it was ended if its time was over.
    """
    timed = [f"{name} {count}x" for name, count in sorted(calls.items()) if name != "gc"]
    got, fix = _by_its_end(ended, start_limit) or _by_what_ran(command, processes)
    if timed:
        got = f"{got}; calls: {', '.join(timed)}"
    error = NothingSeen("no inference of the program was seen", got=got, expected="calls of a model", fix=fix)
    error.exit_code = Ended(ended.code).exit_code
    return error


def _by_its_end(ended: Ended, start_limit: float) -> tuple[str, str] | None:
    """How a program ended that was cut off, and what to do; None where it came to its own end."""
    if ended.by_time:
        return f"none in the {start_limit:g} s that it may take to its first one", _TIME.format(2 * start_limit)
    if ended.code < 0:
        return f"ended by {signal.Signals(-ended.code).name}, {_LOST}", f"find out why; {_SEEN}"
    if ended.code:
        fix = f"run it without attach first: it ended with exit code {ended.code} before it inferred; {_SEEN}"
        return f"exit code {ended.code}", fix
    return None


def _by_what_ran(command: Sequence[str], processes: Sequence[ProcessFacts]) -> tuple[str, str]:
    """What came to its end without an inference, and what to do."""
    unseen = sorted({name for facts in processes for name in facts.unseen})
    if unseen:
        return f"it infers with {', '.join(unseen)}", f"{_SEEN}; calls of other libraries are not timed"
    if processes:
        return "exit code 0", _SEEN
    flags = list(_isolated(command))
    if flags:
        return "exit code 0", f"leave out {' '.join(flags)}, with which Python loads nothing that PYTHONPATH names"
    got = "exit code 0, and no Python that loads what PYTHONPATH names"
    return got, f"{_SEEN}: no frozen executable, no C++, no script whose first line has -E, -I or -S"


def _isolated(command: Sequence[str]) -> Iterator[str]:
    """The flags of Python with which nothing is loaded into it from outside, as they stand before the program."""
    for word in command[1:]:
        if not word.startswith("-") or word in ("-c", "-m"):
            return
        if _ISOLATED.fullmatch(word):
            yield word
