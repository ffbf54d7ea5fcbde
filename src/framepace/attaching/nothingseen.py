"""Why no inference of a program was seen, as far as that can be told, and what to do."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from framepace.attaching.calls import ProcessFacts
from framepace.attaching.ending import Ended
from framepace.attaching.unprobed import why_unprobed
from framepace.errors import UsageError

_SEEN = "attach sees Python programs that infer with onnxruntime, tensorrt, torch or cv2.dnn, or by tritonclient"
_TIME = "where it takes longer to start (an engine that is built), allow that: --start-limit {:.0f}"
_LOST = "with which the rows of the last half of a second are lost"
_MISSING = "ModuleNotFoundError: No module named 'framepace"
_NOT_OBSERVED = "is not observed"


class NothingSeen(UsageError):
    """A program of which no inference was seen; `exit_code` is the program's own."""


@dataclass(frozen=True)
class Seen:
    """What was seen of a program: the processes that the probe was in, why it was not in others, and the calls."""

    processes: Sequence[ProcessFacts] = ()
    failures: Sequence[str] = ()
    calls: Mapping[str, int] = field(default_factory=dict)

    @property
    def raised(self) -> str:
        """What ended the first process that an error ended; '' for none."""
        return next((facts.raised for facts in self.processes if facts.raised), "")

    @property
    def apart(self) -> list[str]:
        """The programs that it started without the probe."""
        return sorted({note for facts in self.processes for note in facts.notes if note.endswith(_NOT_OBSERVED)})


def nothing_seen(command: Sequence[str], ended: Ended, seen: Seen, start_limit: float) -> NothingSeen:
    """The error.

    Args:
        start_limit: seconds to its first inference, after which it was ended if its time was over.
    """
    timed = [f"{name} {count}x" for name, count in sorted(seen.calls.items()) if name != "gc"]
    got, fix = _by_its_end(ended, seen, start_limit) or _by_what_ran(command, seen)
    if timed:
        got = f"{got}; calls: {', '.join(timed)}"
    error = NothingSeen("no inference of the program was seen", got=got, expected="calls of a model", fix=fix)
    error.exit_code = Ended(ended.code).exit_code
    return error


def _by_its_end(ended: Ended, seen: Seen, start_limit: float) -> tuple[str, str] | None:
    """How a program ended that was cut off, and what to do; None where it came to its own end."""
    if ended.by_time:
        return f"none in the {start_limit:g} s that it may take to its first one", _TIME.format(2 * start_limit)
    if ended.code < 0:
        return f"ended by {signal.Signals(-ended.code).name}, {_LOST}", f"find out why; {_SEEN}"
    if ended.code:
        return "; ".join(_failing(ended, seen)), _fix_failing(ended, seen)
    return None


def _failing(ended: Ended, seen: Seen) -> Iterator[str]:
    """How a program failed."""
    yield f"exit code {ended.code}" + (f", {seen.raised}" if seen.raised else "")
    yield from map(_unstarted, seen.failures)
    yield from seen.apart


def _fix_failing(ended: Ended, seen: Seen) -> str:
    if seen.raised.startswith(_MISSING):
        return (
            "its Python has no framepace: install it there (python -m pip install framepace), or leave the import out"
        )
    return f"run it without attach first: it ended with exit code {ended.code} before it inferred; {_SEEN}"


def _by_what_ran(command: Sequence[str], seen: Seen) -> tuple[str, str]:
    """What came to its end without an inference, and what to do."""
    unseen = sorted({name for facts in seen.processes for name in facts.unseen})
    if unseen:
        return f"it infers with {', '.join(unseen)}", f"{_SEEN}; calls of other libraries are not timed"
    if seen.failures:
        return "; ".join(("exit code 0", *map(_unstarted, seen.failures))), f"run it by Python 3.9 or later; {_SEEN}"
    if seen.apart:
        fix = "let them have this environment, without -E, -I or -S, or attach to them instead"
        return "; ".join(("exit code 0", *seen.apart)), fix
    if seen.processes:
        return "exit code 0", _SEEN
    got = "exit code 0, and no Python that loads what PYTHONPATH names"
    other = got, f"{_SEEN}: no frozen executable, no C++, no script whose first line has -E, -I or -S"
    return why_unprobed(command) or other


def _unstarted(why: str) -> str:
    return f"the probe did not start in a process of it ({why})"
