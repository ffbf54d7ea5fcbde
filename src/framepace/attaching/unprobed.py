"""Why the probe is in no process of a program, as far as its command tells, or the Python that it names when asked."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import dropwhile
from pathlib import Path

_ISOLATED = re.compile(r"-[A-Za-z]*[EIS][A-Za-z]*")
_PYTHON = re.compile(r"python[\d.]*(\.exe)?")
_ASK = "import sys; print('%d.%d' % sys.version_info[:2])"
_OLDEST = (3, 9)  # Python that the probe is written for
_LONGEST_S = 20.0
_FIRST_LINE_BYTES = 512


def why_unprobed(command: Sequence[str]) -> tuple[str, str] | None:
    """What keeps the probe out of a command, and what to do; None where that cannot be told."""
    flags = list(_isolating(command[1:]))
    if flags:
        return "exit code 0", f"leave out {' '.join(flags)}, with which Python loads nothing that PYTHONPATH names"
    words = _first_line(command[0]) or list(command[:1])  # python itself may be a script, of a manager of versions
    flags = list(_isolating(words[1:]))
    if flags:
        text = f"its first line starts Python with {' '.join(flags)}, which loads nothing that PYTHONPATH names"
        return f"exit code 0; {text}", f"framepace attach -- {words[0]} {' '.join(command)}"
    version = _version(words[0])
    if version is not None and version < _OLDEST:
        oldest, found = (".".join(map(str, numbers)) for numbers in (_OLDEST, version))
        return f"exit code 0; {words[0]} is Python {found}", f"run it by Python {oldest} or later"
    return None


def _isolating(words: Sequence[str]) -> Iterator[str]:
    """The flags of Python with which nothing is loaded into it from outside, as they stand before the program."""
    for word in words:
        if not word.startswith("-") or word in ("-c", "-m"):
            return
        if _ISOLATED.fullmatch(word):
            yield word


def _first_line(program: str) -> list[str]:
    """Python and its flags in the first line of a script; nothing where that names none."""
    found = shutil.which(program)
    if found is None:
        return []
    with suppress(OSError), Path(found).open("rb") as file:
        first = file.readline(_FIRST_LINE_BYTES).decode(errors="replace")
        if first.startswith("#!"):
            return list(dropwhile(lambda word: not _is_python(word), first[2:].split()))
    return []


def _is_python(word: str) -> bool:
    return _PYTHON.fullmatch(Path(word).name) is not None


def _version(python: str) -> tuple[int, int] | None:
    """That of an interpreter, which is asked for it; None where it is none or does not say."""
    if not _is_python(python):
        return None
    with suppress(OSError, subprocess.SubprocessError, ValueError):
        asked = subprocess.run([python, "-S", "-c", _ASK], capture_output=True, timeout=_LONGEST_S, check=True)
        major, minor = asked.stdout.decode().split(".")
        return int(major), int(minor)
    return None
