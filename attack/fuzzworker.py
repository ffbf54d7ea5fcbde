"""The process that tries damaged inputs: `python -m attack.fuzzworker SEED KIND FIRST LAST CORPUS FOLDER`.

It says in FOLDER/at which input it is at, keeps what was found in FOLDER/findings, and works in FOLDER/input. Input N
of a kind and seed is always the same.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import resource
import shutil
import signal
import sys
import traceback
import warnings
from pathlib import Path
from types import TracebackType

from attack import commandlines
from attack.counts import Fault
from attack.mutations import ADDRESSES, CANARY
from attack.readers import READERS, Attempt, Place
from framepace.errors import FramepaceError

COMMAND_LINE = "command line"
AT_BYTES = 12
CRASH = "ATTACK_CRASHES_AT"
"""The environment variable with the number of an input at which the process crashes: for tests of the attack."""
MEMORY_BYTES = 8 << 30  # of address space: what asks for more gets MemoryError instead of the machine's


def attempt_of(kind: str) -> Attempt:
    """The attempt of that kind."""
    if kind == COMMAND_LINE:
        return commandlines.attempt
    return READERS[kind][0]


def try_input(kind: str, number: int, seed: int, corpus: Path, folder: Path) -> tuple[Fault, str] | None:
    """Try one input in the empty `folder`; what is wrong with what happened, and where."""
    place = Place(corpus, folder, random.Random(f"{seed}/{kind}/{number}"))
    try:
        said = attempt_of(kind)(place)
    except FramepaceError as error:
        said = str(error)
    except Exception as error:
        (folder / "traceback").write_text(traceback.format_exc(), errors="replace")
        return "traceback", f"{type(error).__name__} at {_where(error.__traceback__)}"
    if CANARY in said and _holds_address(folder):
        (folder / "said").write_text(said, errors="replace")
        return "secret", next(line for line in said.splitlines() if CANARY in line)[:200]
    return None


def _holds_address(folder: Path) -> bool:
    """Whether a whole address is in the input: of a damaged one nobody can know what is secret."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "report.html"]
    return any(address.encode() in path.read_bytes() for path in files for address in ADDRESSES)


def _where(trace: TracebackType | None) -> str:
    """The last place in framepace or the attack."""
    frames = [frame for frame in traceback.extract_tb(trace) if "/framepace/" in frame.filename]
    frames = frames or list(traceback.extract_tb(trace))
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno} {frames[-1].name}"


def main() -> None:
    """Try inputs FIRST to LAST - 1; keep those that are findings in FOLDER/kept."""
    seed, kind, first, last, corpus, folder = sys.argv[1:]
    faulthandler.enable()
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    at = os.open(Path(folder) / "at", os.O_WRONLY | os.O_CREAT)
    with (Path(folder) / "findings").open("a") as findings:
        for number in range(int(first), int(last)):
            os.pwrite(at, f"{number:<{AT_BYTES}}".encode(), 0)
            place = emptied(Path(folder) / "input")
            if os.environ.get(CRASH) == str(number):
                os.kill(os.getpid(), signal.SIGSEGV)
            found = try_input(kind, number, int(seed), Path(corpus), place)
            os.chdir(folder)
            if found is not None:
                kept = keep(Path(folder), kind, number, int(seed))
                findings.write(json.dumps([*found, str(kept)]) + "\n")
                findings.flush()
    os.pwrite(at, f"{last:<{AT_BYTES}}".encode(), 0)


def emptied(folder: Path) -> Path:
    """The folder, without anything in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def keep(folder: Path, kind: str, number: int, seed: int) -> Path:
    """Put the input aside; returns where it is."""
    kept = folder / "kept" / f"{kind.replace(' ', '-')}-{seed}-{number}"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(folder / "input", kept, symlinks=True)
    return kept


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # threads of inputs may never end
