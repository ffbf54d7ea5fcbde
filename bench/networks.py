"""Does everything that people export run? One row for each network, one column for each question.

    python bench/networks.py [--quick] [--only NAME] [--part I/N] [--columns bench,model] [--keep FILE.json] [--json]

Networks: those built in, one small one for each kind of input (network_cases.py), every ONNX file that travels inside
an installed package (of this environment, and of folders named by --packages), and exports of torchvision, timm and
transformers in --exports (made by network_exports.py; with --exporter PYTHON they are made first).

A cell is 'same' where the command runs and the library alone gives the same answers on the same inputs; 'asked: ...'
where it first refuses, and runs when its own advice is followed; anything else is a FAULT. Ctrl-C keeps what there is;
with --keep a later run goes on from there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import count as count_from
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from network_answers import Answers
from network_cases import write_cases
from network_hints import followed

from framepace.recording.machine import probe
from framepace.reporting.views.machine import machine_line
from framepace.video.source import synthetic_video

BENCH = Path(__file__).parent
COLUMNS = ("bench", "model", "video", "sweep", "explain", "tune")
BUILT_IN = tuple(f"builtin:{name}" for name in ("classifier", "detector", "resnet50", "manykernels", "membound"))
MOST_QUESTIONS = 4
_FOLDERS = re.compile(r"/\S+/")  # of this machine, in what a command said
MOST_LOG_BYTES = 20_000
_PATIENCE_S = 300.0  # with a command that an error advised to give more time
_SECONDS = {True: 0.3, False: 2.0}
_LIMIT_S = {True: 10.0, False: 30.0}


class Network(msgspec.Struct, frozen=True):
    """A network and where it comes from."""

    name: str
    source: str
    location: str


class Cell(msgspec.Struct, frozen=True):
    """How a command ended: 'same', 'asked', 'refused' or 'FAULT'; what it asked, and the words of the end."""

    state: str
    asked: tuple[str, ...] = ()
    words: str = ""
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """The cell in the table."""
        if self.state == "asked":
            return "asked: " + " ".join(self.asked)
        if self.state == "same":
            return self.state
        return f"{self.state}: {_FOLDERS.sub('', self.words)[:160]}"


class Row(msgspec.Struct, frozen=True):
    """A network's cells by column, and its latency in framepace over that of a bare loop, from 1 ms on."""

    network: Network
    cells: dict[str, Cell]
    ratio: float | None = None


def networks(folder: Path, packages: Sequence[Path], exports: Path) -> Iterator[Network]:
    """All networks that are here, each name once."""
    for name in BUILT_IN:
        yield Network(name, "built in", name)
    write_cases(folder)
    for path in sorted(folder.glob("*.onnx")):
        yield Network(path.stem, "case", str(path))
    seen: set[bytes] = set()
    for root in packages:
        for path in sorted(root.rglob("*.onnx")):
            data = path.read_bytes()
            if "backend/test" not in str(path) and data not in seen:
                seen.add(data)
                yield Network(f"{path.relative_to(root).parts[0]}/{path.stem}", "package", str(path))
    for path in sorted(exports.glob("*.onnx")):
        yield Network(path.stem, "export", str(path))


def part(all_networks: Iterable[Network], text: str) -> Iterator[Network]:
    """The networks of part I of N ('I/N'): each Nth one, from the Ith on."""
    first, step = (int(number) for number in text.split("/"))
    return islice(all_networks, first - 1, None, step)


class Probe:
    """A process that runs one command after the other; a new one after one that died or was too slow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def run(self, arguments: Sequence[str], limit_s: float) -> int | None:
        """The exit code of a command; None where it did not end in time, or its process died."""
        if self._process is None:
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(BENCH), os.environ.get("PYTHONPATH", "")])}
            self._process = subprocess.Popen(
                [sys.executable, str(BENCH / "network_probe.py")],
                cwd=self._folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(self._folder / "seen"), *arguments]) + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], limit_s)
        answer = self._process.stdout.readline() if ready else ""
        if not answer:
            self.close()
            return None
        return int(answer)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Run:
    """How one command on one network ended."""

    def __init__(self, probe: Probe, arguments: Sequence[str], folder: Path, limit_s: float) -> None:
        self.seen = folder / "seen.npz"
        for ending in ("npz", "out", "err"):
            (folder / f"seen.{ending}").unlink(missing_ok=True)
        self.code = probe.run(arguments, limit_s)
        self.out = _text(folder / "seen.out")
        self.log = _text(folder / "seen.err")

    @property
    def document(self) -> Mapping[str, Any] | None:
        """The JSON object, where there is one."""
        try:
            found: Mapping[str, Any] = json.loads(self.out)
        except ValueError:
            return None
        return found

    @property
    def error(self) -> str:
        """The error of the command, from 'error:' on; that of its cells where all failed; '' where it has none."""
        if "error: " in self.log:
            return self.log[self.log.index("error: ") :]
        return ""

    @property
    def fault(self) -> str:
        """What no command may do, whatever the network: crash, hang, flood the terminal, blame itself."""
        if self.code is None and not self.error:  # an inference that never returns ends the process, with a sentence
            return "it did not end, or its process died"
        if self.code not in (0, 1, 2, None):
            return f"exit code {self.code}"
        if len(self.log) > MOST_LOG_BYTES:
            return f"{len(self.log):,} bytes in the terminal"
        if "Traceback" in self.log or "framepace failed" in self.log:
            return self.log.strip().splitlines()[-1]
        return ""


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


class Bench:
    """Runs the cells of a network."""

    def __init__(self, folder: Path, quick: bool) -> None:
        self._folder = folder
        self._probe = Probe(folder)
        self._quick = quick
        self._seconds = str(_SECONDS[quick])
        self._limit_s = _LIMIT_S[quick]
        self._video = folder / "video.mkv"
        self._video.write_bytes(synthetic_video((360, 640)))

    def close(self) -> None:
        """End the process that runs commands."""
        self._probe.close()

    def row(self, network: Network, columns: Iterable[str]) -> Row:
        """Every column of a network."""
        answers = Answers(network.location)
        cells = {}
        ratio = None
        for column in columns:
            cell, run = self._cell(network, column, answers)
            cells[column] = cell
            if not self._quick and column == "model" and cell.state in ("same", "asked") and run is not None:
                ratio = answers.ratio(run.document, run.seen)
        return Row(network, cells, ratio)

    def _cell(self, network: Network, column: str, answers: Answers) -> tuple[Cell, Run | None]:
        """Run a command; where it refuses, do what it says, and run it again."""
        began = time.monotonic()
        asked: list[str] = []
        for question in count_from(0):
            limit_s = 4 * self._limit_s + (_PATIENCE_S if "--seconds" in asked or "--time-limit" in asked else 60)
            run = Run(self._probe, self._command(network, column, asked), self._folder, limit_s)
            wrong = run.fault or answers.differ(run.seen)
            if wrong:
                return Cell("FAULT", tuple(asked), wrong, time.monotonic() - began), None
            error = run.error or _failed_cells(run.document)
            if not error:
                return Cell("asked" if asked else "same", tuple(asked), "", time.monotonic() - began), run
            options = followed(error, asked, scopes=column not in ("explain", "tune"))
            words = " ".join(error.split())
            if options is None or question >= MOST_QUESTIONS:
                return Cell("refused" if not asked else "FAULT", tuple(asked), words, time.monotonic() - began), None
            asked += options
        raise AssertionError("there is an end of questions")

    def _command(self, network: Network, verb: str, asked: Sequence[str]) -> list[str]:
        measured = ["bench", network.location, "--seconds", self._seconds]
        limit = ["--time-limit", f"{self._limit_s:g}"]
        commands = {
            "bench": measured,
            "model": [*measured, "--scope", "model"],
            "video": [*measured, "--video", str(self._video), "--set", "finish=network_hook:keep"],
            "sweep": ["sweep", network.location, "--vary", "batch=1,2", "--seconds", self._seconds, "--scope", "model"],
            "explain": ["explain", network.location, *limit],
            "tune": ["tune", network.location, "--fps", "5", *limit],
        }
        given = list(asked)
        if "--scope" in given and "--scope" in commands[verb]:
            place = given.index("--scope")
            del given[place : place + 2]
        return [*commands[verb], *given, "--json", "--out", str(self._folder / "out"), "--overwrite"]


def _failed_cells(document: Mapping[str, Any] | None) -> str:
    """The first error of a sweep all of whose cells failed, or whose failed cells say nothing of what to do."""
    if document is None:
        return "error: no JSON"
    cells = document.get("cells", ())
    errors = [cell["error"] for cell in cells if cell.get("error")]
    silent = [error for error in errors if "what to do" not in error]
    if errors and (len(errors) == len(cells) or silent):
        return f"error: {[*silent, *errors][0]}"
    return ""


def show(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """The table in the terminal."""
    width = max((len(row.network.name) for row in rows), default=0)
    for row in rows:
        cells = "  ".join(f"{row.cells[name].state:<7}" for name in columns if name in row.cells)
        ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
        print(f"{row.network.name:<{width}}  {cells}  {ratio}")
    print(count(rows))


def count(rows: Sequence[Row]) -> str:
    """How many cells ended how."""
    states = [cell.state for row in rows for cell in row.cells.values()]
    parts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    return f"{len(rows)} networks, {len(states)} cells: {', '.join(parts)}"


def markdown(rows: Sequence[Row], columns: Sequence[str], command: str) -> str:
    """The page of the documentation."""
    machine = probe()
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(machine.libraries.items()))
    ratios = ["ratio to a bare loop"] * any(row.ratio is not None for row in rows)
    lines = [
        "# Networks",
        "",
        "What runs: networks that travel inside Python packages, exports of torchvision, timm and transformers with",
        "random weights, and one small network for each kind of input. 'same': the command runs and ONNX Runtime",
        "alone gives the same answers on the same inputs. 'asked': it first refuses and runs when its advice, which",
        "is given, is followed to the letter: the bench knows nothing of the networks. 'refused': its words are",
        "given. 'FAULT': none of these. A cell without words was not measured.",
        "",
        f"{date.today().isoformat()}, commit {_commit()}, {machine_line(machine)}; {libraries}. `{command}`",
        "",
        count(rows) + ".",
        "",
        "| network | from | " + " | ".join([*columns, *ratios]) + " |",
        "|---" * (len(columns) + len(ratios) + 2) + "|",
    ]
    for row in rows:
        cells = [row.cells[name].text if name in row.cells else "" for name in columns]
        ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
        texts = [row.network.name, row.network.source, *cells, *([ratio] * len(ratios))]
        lines.append("| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |")
    return "\n".join(lines) + "\n"


def _commit() -> str:
    """What was measured, in short."""
    command = ["git", "-C", str(BENCH), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def arguments() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--quick", action="store_true", help="short runs")
    parser.add_argument("--only", action="append", default=[], help="networks whose name contains this")
    parser.add_argument("--part", default="1/1", metavar="I/N", help="each Nth network from the Ith on, beside others")
    parser.add_argument("--columns", default=",".join(COLUMNS))
    parser.add_argument("--packages", action="append", type=Path, default=[], help="folders with packages' ONNX files")
    parser.add_argument("--exports", type=Path, default=Path.home() / ".cache/framepace/networks")
    parser.add_argument("--exporter", help="a Python that has torch, torchvision, timm and transformers")
    parser.add_argument("--keep", type=Path, help="results, which a later run goes on from")
    parser.add_argument("--markdown", type=Path, help="write the page of the documentation")
    return parser.parse_args()


def main() -> None:
    """Run, and show what there is, also after Ctrl-C."""
    chosen = arguments()
    columns = chosen.columns.split(",")
    if chosen.exporter:
        subprocess.run([chosen.exporter, str(BENCH / "network_exports.py"), str(chosen.exports)], check=True)
    rows: dict[str, Row] = {}
    if chosen.keep is not None and chosen.keep.is_file():
        rows = msgspec.json.decode(chosen.keep.read_bytes(), type=dict[str, Row])
    packages = [Path(msgspec.__file__).parent.parent, *chosen.packages]
    with tempfile.TemporaryDirectory(prefix="framepace-networks-") as name:
        folder = Path(name)
        bench = Bench(folder, chosen.quick)
        try:
            share = part(networks(folder / "cases", packages, chosen.exports), chosen.part)
            for network in share:
                wanted = not chosen.only or any(part in network.name for part in chosen.only)
                missing = [c for c in columns if network.name not in rows or c not in rows[network.name].cells]
                if wanted and missing:
                    _add(rows, bench.row(network, missing), chosen.keep)
        except KeyboardInterrupt:
            print("interrupted: what there is", file=sys.stderr)
        finally:
            bench.close()
    shown = list(rows.values())
    if chosen.markdown is not None:
        chosen.markdown.write_text(markdown(shown, columns, "python " + " ".join(sys.argv)))
    if chosen.json:
        print(json.dumps({"bench": "networks", "rows": msgspec.to_builtins(shown)}, indent=2))
    else:
        show(shown, columns)


def _add(rows: dict[str, Row], row: Row, keep: Path | None) -> None:
    """Add the cells to those that the network has, save all, and say how they ended."""
    before = rows.get(row.network.name)
    cells = {**(before.cells if before is not None else {}), **row.cells}
    ratio = row.ratio if row.ratio is not None or before is None else before.ratio
    rows[row.network.name] = Row(row.network, cells, ratio)
    if keep is not None:
        keep.write_bytes(msgspec.json.encode(rows))
    for column, cell in row.cells.items():
        print(f"{row.network.name:<40} {column:<8} {cell.seconds:5.0f} s  {cell.text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
