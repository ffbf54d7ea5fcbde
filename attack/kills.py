"""Commands that are killed at random moments: nobody lives on, nothing finished is lost, the folder goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from attack import commands, corpus
from attack.counts import WHOLE, Counts, Finding, Part

MOMENTS = 300
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
_SIGNALS = (*CODES, signal.SIGKILL)
_START_S = 0.15  # before Python listens to signals
_LONGEST_S = 4.0
_END_S = 15.0  # for what was told to stop, on a machine that does much else
_AGAIN_S = 120.0
_AGAIN_SHARE = 0.4
_TOLD = 20  # moments between two lines of progress


@dataclass
class Killed:
    """A command that was killed."""

    verb: str
    signum: signal.Signals
    moment_s: float
    code: int = 0
    text: str = ""
    lived: bool = False
    """Whether it still ran at that moment."""
    hung: bool = False

    def __str__(self) -> str:
        moment = f"{self.signum.name} after {self.moment_s:.3f} s"
        return f"framepace {' '.join(commands.VERBS[self.verb])}; {moment}: {self.code}\n{self.text[-2000:]}"


def attack(
    seed: int, folder: Path, counts: Counts, tell: Callable[[str], None], share: float = 1.0, part: Part = WHOLE
) -> None:
    """Kill commands of all verbs in turn; what happened is added to `counts` as it comes."""
    place = corpus.make(folder / "corpus", seed)
    verbs = tuple(commands.VERBS)
    numbers = part.take(range(max(1, round(MOMENTS * share))))
    for tried, number in enumerate(numbers, 1):
        try_moment(seed, number, verbs[number % len(verbs)], folder, place, counts)
        if tried % _TOLD == 0:
            tell(f"kills: {tried} of {len(numbers)} moments, {len(counts.findings)} findings")


def try_moment(seed: int, number: int, verb: str, folder: Path, place: Path, counts: Counts) -> None:
    """Kill that command at moment `number` of this seed; `place` is the corpus."""
    _try_moment(verb, random.Random(f"kills/{seed}/{number}"), folder / "killed", place, counts)


def _try_moment(verb: str, rng: random.Random, folder: Path, place: Path, counts: Counts) -> None:
    mark = f"{os.getpid()}-{rng.random()}"
    memory = commands.shared_memory()
    commands.prepared(folder, place)
    killed = Killed(verb, rng.choice(_SIGNALS), rng.uniform(_START_S, _LONGEST_S))
    _kill(killed, folder, mark, group=rng.random() < 0.5)
    counts.tried[f"kills, {verb}"] += 1
    _check_end(killed, counts)
    for line in commands.leftovers(mark) + commands.kept_memory(memory):
        counts.findings.append(Finding("leftover", "kills", line, str(killed)))
    for line in commands.lost(folder):
        counts.findings.append(Finding("lost", "kills", line, str(killed)))
    if rng.random() < _AGAIN_SHARE:
        _again(killed, folder, mark, counts)


def _kill(killed: Killed, folder: Path, mark: str, group: bool) -> None:
    """Run the command and send the signal at the moment; what it said goes to `killed`."""
    with (folder / "said").open("wb") as said:
        process = _started(killed.verb, folder, mark, said.fileno())
        with suppress(subprocess.TimeoutExpired):
            process.wait(killed.moment_s)
        killed.lived = process.poll() is None
        if killed.lived and group:
            os.killpg(process.pid, killed.signum)
        elif killed.lived:
            process.send_signal(killed.signum)
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            killed.hung = True
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    killed.code = process.returncode
    killed.text = (folder / "said").read_text(errors="replace")


def _started(verb: str, folder: Path, mark: str, output: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "framepace", *commands.VERBS[verb]]
    environment = {**os.environ, commands.MARK: mark}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _check_end(killed: Killed, counts: Counts) -> None:
    """A signal that was caught has its exit code; Python alone, before framepace, ends by it."""
    if killed.hung:
        counts.findings.append(Finding("alive", "kills", f"{killed.verb}: {killed.signum.name}", str(killed)))
        return
    told = killed.lived and killed.signum in (*CODES, signal.SIGKILL)
    code = killed.code
    if told and code == -killed.signum and (killed.signum == signal.SIGKILL or not killed.text):
        code = 0
    commands.check_text(counts, "kills", killed.text, code, str(killed))
    if code not in (0, 1, 2, *CODES.values()) and code >= 0:
        counts.findings.append(Finding("signal", "kills", f"exit code {code}", str(killed)))
    says_so = "interrupted" in killed.text or killed.signum.name in killed.text
    if killed.lived and code == 2 and not says_so:
        counts.findings.append(Finding("lost", "kills", "exit code 2 instead of the signal's", str(killed)))


def _again(killed: Killed, folder: Path, mark: str, counts: Counts) -> None:
    """The same command in the same folder; a trace that is whole may be refused."""
    with (folder / "said").open("wb") as said:
        process = _started(killed.verb, folder, mark, said.fileno())
        try:
            code = process.wait(_AGAIN_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            counts.findings.append(Finding("alive", "kills", f"{killed.verb}, again", str(killed)))
            return
    text = (folder / "said").read_text(errors="replace")
    commands.check_text(counts, "kills", text, code, f"again: {text[-1500:]}")
    if code not in (0, 1) and "already holds a trace" not in text:
        words = next((line for line in text.splitlines() if line.startswith("error:")), text[-160:])
        counts.findings.append(Finding("lost", "kills", f"{killed.verb} does not go on: {words}", f"{killed}\n{text}"))
