"""The program: somebody's own code as the subject of a trace, where a plan would say how models run."""

from __future__ import annotations

import re
from collections.abc import Sequence

from framepace.facts.address import HIDDEN, redacted
from framepace.facts.base import Fact
from framepace.facts.plan import Target

_SECRET_OPTION = re.compile(r"^(-{0,2}[\w-]*(?:password|passwd|secret|token|credential|api-?key)[\w-]*)(=|$)", re.I)


class SessionFacts(Fact, frozen=True, kw_only=True):
    """A model as the program loaded it: threads (0: as many as there are cores), whether idle ones spin, providers."""

    threads: int = 0
    spinning: bool = True
    providers: tuple[str, ...] = ()


class Part(Fact, frozen=True, kw_only=True):
    """What a stage of a program's frames consists of: a call, or a line of the program between the timed calls.

    `ns` is its mean per frame, `count` the calls per frame (0 for a line: its share of the samples of the stage).
    The stages are decode, queue, prepare, infer, finish, and 'between' two frames. Stage 'named' is a block that the
    program named (it overlaps with the others); 'beside' is a thread that has
    no frames: `ns` is its CPU time per second, `name` the line where it was most often.
    """

    stage: str
    name: str
    ns: float
    count: float = 0.0


class Program(Fact, frozen=True, kw_only=True):
    """A program that was observed instead of run from a plan.

    `command` is its command line without secrets (see `without_secrets`), `folder` the name of its working directory
    (not the path), `names` its models or stages in the order in which they first appeared: the column 'model' of the
    requests is an index into them. `libraries` are versions by name. The environment is not kept: it may hold secrets.
    `log` is the kind of a log that it wrote, where the trace was made from one ('' else). `sessions` are its models as
    they were loaded, `threads` those of libraries, by name; `parts` is what its stages consist of, the largest first;
    `lock_wait` how long a thread that needs little waits for the interpreter lock, `period` the time from one frame to
    the next of the thread that has most (ns, medians).
    """

    command: tuple[str, ...]
    folder: str = ""
    names: tuple[str, ...] = ()
    libraries: dict[str, str] = {}
    target: Target = Target()
    log: str = ""
    sessions: dict[str, SessionFacts] = {}
    threads: dict[str, int] = {}
    parts: tuple[Part, ...] = ()
    lock_wait: float = 0.0
    period: float = 0.0


def without_secrets(command: Sequence[str]) -> tuple[str, ...]:
    """A command line with secrets in addresses, and values of options such as --token, hidden."""
    shown: list[str] = []
    hide_next = False
    for argument in command:
        option = _SECRET_OPTION.match(argument)
        if hide_next:
            shown.append(HIDDEN)
            hide_next = False
        elif option is None:
            shown.append(redacted(argument))
        elif option[2]:
            shown.append(f"{option[1]}={HIDDEN}")
        else:
            shown.append(argument)
            hide_next = argument.startswith("-")
    return tuple(shown)
