"""framepace's command line with ONNX Runtime watched, one command after the other in one process.

Each line of standard input is a JSON list: a file, and framepace's arguments. What the command prints goes to FILE.out
and FILE.err; what went into its first inferences and came out, and what the hook was handed, to FILE.npz. Then its
exit code is written as a line. Nothing of framepace is replaced, only the class of ONNX Runtime whose `run` it calls.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import onnxruntime

KEPT = 8
_runs: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = []
_Session = onnxruntime.InferenceSession


class Watched(_Session):  # type: ignore[misc, valid-type]
    """A session that remembers its first inferences."""

    def run(self, names: Any, feed: Mapping[str, Any], options: Any = None) -> Any:
        """As the library's."""
        results = super().run(names, feed, options)
        if len(_runs) < KEPT:
            names = names or [output.name for output in self.get_outputs()]
            inputs = {name: np.array(array) for name, array in feed.items()}
            outputs = {name: np.array(result) for name, result in zip(names, results, strict=True)}
            _runs.append((inputs, outputs))
        return results


def _save(path: Path, handed: list[Mapping[str, Any]]) -> None:
    arrays: dict[str, Any] = {}
    for number, (inputs, outputs) in enumerate(_runs):
        arrays |= {_key(number, "in", name): array for name, array in inputs.items()}
        arrays |= {_key(number, "out", name): array for name, array in outputs.items()}
    for number, outputs in enumerate(handed):
        arrays |= {_key(number, "hook", name): array for name, array in outputs.items()}
    plain = {key: array for key, array in arrays.items() if array.dtype.kind not in "OVUST"}
    np.savez(path, **plain)


def _key(number: int, kind: str, name: str) -> str:
    """A name in an archive, where a slash would be a folder."""
    return f"{number}|{kind}|{quote(name, safe='')}"


@contextlib.contextmanager
def _printed(file: str) -> Iterator[None]:
    """Standard output and error, those of libraries too, go to files."""
    kept = {number: os.dup(number) for number in (1, 2)}
    try:
        for number, ending in ((1, ".out"), (2, ".err")):
            with open(file + ending, "wb") as target:
                os.dup2(target.fileno(), number)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)


def run(file: str, arguments: list[str]) -> int:
    """One command; its exit code, -1 for an exception that got through."""
    import network_hook

    from framepace.cli.main import main as framepace

    _runs.clear()
    network_hook.handed.clear()
    sys.argv = ["framepace", *arguments]
    code = 0
    with _printed(file):
        try:
            framepace()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
        except BaseException:
            traceback.print_exc()
            code = -1
    _save(Path(f"{file}.npz"), network_hook.handed)
    return code


def main() -> None:
    """Answer lines until there are no more."""
    onnxruntime.InferenceSession = Watched
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        file, *arguments = json.loads(line)
        print(run(file, arguments), file=answers, flush=True)


if __name__ == "__main__":
    main()
