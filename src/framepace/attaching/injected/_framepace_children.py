"""Programs that a program starts so that the probe cannot come into them: it is noted which. Standard library only."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from _framepace_timing import looks_like

if TYPE_CHECKING:
    from _framepace_probe import Probe

_HERE = os.path.dirname(os.path.abspath(__file__))
_PYTHON = re.compile(r"python[\d.]*(\.exe)?")
_ISOLATED = re.compile(r"-[A-Za-z]*[EIS][A-Za-z]*")


def watch_children(probe: Probe, module: ModuleType) -> None:
    """Note each program that `subprocess` starts without the probe."""
    original = module.Popen.__init__

    def __init__(self: Any, args: Any, *others: Any, **options: Any) -> None:
        try:
            for why in _reasons(args, options.get("env")):
                probe.note(f"{_name(args)} was started {why}, and is not observed")
        except Exception as error:
            probe.note(f"the start of a program was not understood: {type(error).__name__}: {error}")
        original(self, args, *others, **options)

    module.Popen.__init__ = looks_like(__init__, original)


def _reasons(args: Any, env: Mapping[str, str] | None) -> Iterator[str]:
    """Why the probe will not be in a program; none where it will, or the program is none of Python."""
    words = _words(args)
    if not words or not _PYTHON.fullmatch(os.path.basename(words[0])):
        return
    for word in words[1:]:
        if not word.startswith("-") or word in ("-c", "-m"):
            break
        if _ISOLATED.fullmatch(word):
            yield f"with {word}"
    if env is not None and _HERE not in env.get("PYTHONPATH", ""):
        yield "with an environment without this one's PYTHONPATH"


def _words(args: Any) -> list[str]:
    if isinstance(args, (str, bytes, os.PathLike)):
        return os.fsdecode(args).split()
    return [os.fsdecode(word) for word in args]


def _name(args: Any) -> str:
    """The program, without its arguments, which may hold secrets."""
    return os.path.basename(_words(args)[0])
