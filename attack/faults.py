"""What a system can refuse: space, memory, descriptors, shared memory, an output, a steady clock."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import framepace
from attack import commands, corpus
from attack.counts import WHOLE, Counts, Finding, Part
from framepace.errors import FramepaceError
from framepace.facts.workload import Stop
from framepace.testing import FakeClock
from framepace.units import NS_PER_S

CLOCKS = 40  # runs in time that leaps
ROUNDS = 6  # of every fault with every verb that it can hit
_END_S = 60.0
_WRITING = ("bench", "bench, processes", "bench, worker processes", "sweep", "sweep, processes", "capacity", "report")
_SHORT = (*_WRITING, "compare", "plan", "doctor", "settings")
_UNSHARE = ("unshare", "--mount", "--", "sh", "-c")


@dataclass(frozen=True)
class Fault:
    """How a fault is made: limits by name, and a shell command whose `"$@"` is the program."""

    name: str
    verbs: tuple[str, ...]
    limits: Mapping[int, tuple[int, ...]]
    """Values of which one is taken."""
    shell: str = ""
    mounts: bool = False


FAULTS = (
    Fault("disk, limit of files", _WRITING, {resource.RLIMIT_FSIZE: (0, 1, 4096, 40_000, 300_000)}),
    Fault("disk, full", _WRITING, {}, 'mount -t tmpfs -o size=SIZEk none "$PWD/out" && exec "$@"', mounts=True),
    Fault("memory", _SHORT, {resource.RLIMIT_AS: (1 << 27, 200 << 20, 400 << 20, 700 << 20, 1 << 30, 3 << 29)}),
    # With 4 or 5 Python itself does not start.
    Fault("descriptors", _SHORT, {resource.RLIMIT_NOFILE: (6, 8, 10, 12, 16, 20, 24, 32, 48)}),
    Fault("shared memory", _WRITING, {}, 'mount -t tmpfs -o size=SIZEk none /dev/shm && exec "$@"', mounts=True),
    Fault("no shared memory", _WRITING, {}, 'mount -t tmpfs -o ro none /dev/shm && exec "$@"', mounts=True),
    Fault("output full", _SHORT, {}, 'exec "$@" > /dev/full'),
    Fault("output closed", _SHORT, {}, 'exec "$@" >&-'),
    Fault("errors closed", _SHORT, {}, 'exec "$@" 2>&-'),
    Fault("no processes of its own", _WRITING, {}, 'umount -l /proc && exec "$@"', mounts=True),
)


def attack(
    seed: int, folder: Path, counts: Counts, tell: Callable[[str], None], share: float = 1.0, part: Part = WHOLE
) -> None:
    """Try every fault on the verbs that it can hit; what happened is added to `counts` as it comes."""
    place = corpus.make(folder / "corpus", seed)
    may_mount = _may_mount()
    if not may_mount:
        counts.notes.append("not tried, for want of the right to mount: full disks, small /dev/shm, no /proc")
    for fault in FAULTS:
        if fault.mounts and not may_mount:
            continue
        before = len(counts.findings)
        count = max(1, round(ROUNDS * len(fault.verbs) * share))
        numbers = part.take(range(count))
        for number in numbers:
            try_fault(
                fault, fault.verbs[number % len(fault.verbs)], seed * 1000 + number, folder / "faulty", place, counts
            )
        tell(f"faults, {fault.name}: {len(numbers)} runs, {len(counts.findings) - before} findings")
    try_clocks(seed, counts, part.take(range(max(1, round(CLOCKS * share)))))


def _may_mount() -> bool:
    command = [*_UNSHARE, "mount -t tmpfs none /mnt"]
    with suppress(OSError):
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return False


def try_fault(fault: Fault, verb: str, seed: int, folder: Path, place: Path, counts: Counts) -> None:
    """Run the command of that name with the fault; `place` is the corpus."""
    rng = random.Random(f"{fault.name}/{verb}/{seed}")
    commands.prepared(folder, place)
    if fault.mounts:
        (folder / commands.OUT).mkdir()
    mark = f"{os.getpid()}-{rng.random()}"
    memory = commands.shared_memory()
    limits = {limit: rng.choice(values) for limit, values in fault.limits.items()}
    shell = fault.shell.replace("SIZE", str(rng.choice((4, 16, 64, 256, 1024))))
    shown = f"{fault.name} {limits or shell}: framepace {' '.join(commands.VERBS[verb])}"
    kind = f"faults, {fault.name}"
    counts.tried[kind] += 1
    code, text = _run(_command(fault, shell, verb), folder, mark, limits)
    if code is None:
        counts.findings.append(Finding("alive", kind, verb, shown))
    else:
        commands.check_text(counts, kind, text, code, f"{shown}\n{text[-1500:]}")
    for line in commands.leftovers(mark) + commands.kept_memory(memory):
        counts.findings.append(Finding("leftover", kind, line, shown))
    if not fault.mounts:
        for line in commands.lost(folder):
            counts.findings.append(Finding("lost", kind, line, shown))


def _command(fault: Fault, shell: str, verb: str) -> list[str]:
    program = [sys.executable, "-m", "framepace", *commands.VERBS[verb]]
    if not shell:
        return program
    if fault.mounts:
        return [*_UNSHARE, shell, "sh", *program]
    return ["sh", "-c", shell, "sh", *program]


def _run(command: list[str], folder: Path, mark: str, limits: Mapping[int, int]) -> tuple[int | None, str]:
    """The exit code (None: it had to be ended) and what was said."""

    def limit() -> None:
        for name, value in limits.items():
            resource.setrlimit(name, (value, value))

    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, commands.MARK: mark},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=limit,
    )
    try:
        out, _ = process.communicate(timeout=_END_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.communicate()
        return None, ""
    return process.returncode, out.decode(errors="replace")


class _JumpingClock(FakeClock):
    """Virtual time that leaps now and then, as a suspended machine's does."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(start=rng.choice((0, 1, 1 << 40, 1 << 61)))
        self._rng = rng

    def sleep_until(self, due: int) -> None:
        """Sleep, and sometimes for minutes or hours too long."""
        self.oversleep = self._rng.choice((0, 0, 0, 0, NS_PER_S, 600 * NS_PER_S, 36_000 * NS_PER_S))
        super().sleep_until(due)


def try_clocks(seed: int, counts: Counts, numbers: Iterable[int]) -> None:
    """Runs in time that leaps, in this process."""
    for number in numbers:
        rng = random.Random(f"clocks/{seed}/{number}")
        counts.tried["faults, clock"] += 1
        case = framepace.make_case(
            ["null"],
            fps=rng.choice((10.0, 30.0, 1000.0)),
            scope="pipeline",
            stop=Stop(seconds=0.5),
            settings={"backend": "null", "size": (64, 64)},
        )
        try:
            framepace.summary(framepace.bench(case, clock=_JumpingClock(rng)))
        except FramepaceError:
            continue
        except Exception as error:
            counts.findings.append(Finding("traceback", "faults, clock", repr(error)[:160], str(case)[:300]))
