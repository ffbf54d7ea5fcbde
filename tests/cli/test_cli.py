"""The commands as a user types them: what is printed where, exit codes, and wrong input."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from framepace import api
from framepace.cli.app import app
from framepace.facts.workload import Stop
from tests.doubles.commands import Command

COMMANDS = ("doctor", "bench", "explain", "sweep", "tune", "capacity", "accuracy", "plan", "compare", "layers",
            "report", "settings", "attach", "launch")  # fmt: skip


class Ended(NamedTuple):
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


def framepace(*arguments: object, cwd: Path | None = None) -> Ended:
    """Run the command line in a process of its own."""
    with Command(cwd or Path.cwd(), *arguments, COLUMNS="100") as command:
        code = command.wait(200.0)
        return Ended(code, command.out, command.err)


def document(result: Ended) -> dict[str, Any]:
    """The one JSON object on standard output."""
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A short run of the null backend."""
    folder = tmp_path_factory.mktemp("cli") / "a"
    result = framepace("bench", "null", "--set", "backend=null", "--count", 700, "--json", "--out", folder)
    assert result.returncode == 0, result.stderr
    return result


def test_bench_tells_the_numbers_and_writes_a_trace(measured: Ended) -> None:
    """`--json` has one object with rows of whole frames and models; the trace is where it says."""
    found = document(measured)
    assert found["schema"] == "framepace.bench/1"
    assert {row["model"] for row in found["rows"]} >= {"frames"}
    assert (Path(found["trace"]) / "requests.parquet").exists()


def test_a_missed_budget_is_exit_code_1(tmp_path: Path) -> None:
    """40 ms of work at 30 fps, or more on a busy machine: the command did its work, and the answer is no."""
    options = ("--set", "backend=null", "--set", "option.latency_us=40000", "--set", "option.cpu=sleep")
    result = framepace("bench", "null", *options, "--fps", 30, "--seconds", 1, "--out", tmp_path / "t")
    assert result.returncode == 1


def test_sweep_is_a_grid_and_resumes(tmp_path: Path) -> None:
    """Four cells; the second run reads them instead of measuring again."""
    grid = ("--vary", "batch=1,2", "--vary", "delay-ms=0,1")
    arguments = ("sweep", "null", "--set", "backend=null", *grid, "--seconds", 0.2, "--out", tmp_path, "--json")
    first = [row["trace"] for row in document(framepace(*arguments))["rows"]]
    assert len(first) == 4
    metas = {path: (Path(path) / "meta.json").stat().st_mtime_ns for path in first}
    assert [row["trace"] for row in document(framepace(*arguments))["rows"]] == first
    assert metas == {path: (Path(path) / "meta.json").stat().st_mtime_ns for path in first}


def test_a_cell_that_fails_is_a_row_and_the_sweep_goes_on(tmp_path: Path) -> None:
    """A model that is not there fails its cell alone."""
    arguments = ("sweep", "null", "--set", "backend=null", "--vary", "model=missing.onnx,null", "--seconds", 0.2)
    rows = document(framepace(*arguments, "--out", tmp_path, "--json"))["rows"]
    assert rows[0]["error"]
    assert rows[1]["error"] is None


def test_compare_says_same_of_a_trace_and_itself(tmp_path: Path) -> None:
    """No difference is exit code 0; a slower one is 1."""
    settings = {"backend": "simulated", "option.device": "ideal"}
    api.bench("null", fps=100, scope="model", stop=Stop(count=400), out=tmp_path / "a", settings=settings)
    result = framepace("compare", tmp_path / "a", tmp_path / "a", "--json")
    assert document(result)["verdict"] == "same"
    assert result.returncode == 0


def test_compare_says_slower_with_exit_code_1(tmp_path: Path) -> None:
    """Twice the arithmetic on a simulated device, in virtual time: no noise can hide it."""
    for name, work in (("less", 5.0), ("more", 10.0)):
        settings = {"backend": "simulated", "option.device": "ideal", "option.gflops": work}
        api.bench("null", fps=100, scope="model", stop=Stop(count=400), out=tmp_path / name, settings=settings)
    result = framepace("compare", tmp_path / "less", tmp_path / "more", "--json")
    assert document(result)["verdict"] == "slower"
    assert result.returncode == 1


def test_report_is_one_file(measured: Ended, tmp_path: Path) -> None:
    """The HTML is where it says, and names nothing outside itself."""
    result = framepace("report", document(measured)["trace"], "--out", tmp_path / "r.html")
    assert result.returncode == 0, result.stderr
    page = (tmp_path / "r.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=.?https?:", page)


def test_doctor_and_settings_answer() -> None:
    """Both give a document."""
    assert document(framepace("doctor", "--json"))["checks"]
    assert len(document(framepace("settings", "--json"))["settings"]) > 20


BROKEN = b"\x08\x09\x12\x04test:" + b"\xff" * 200


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("bench", "missing.onnx"), "cannot be read"),
        (("bench", "text.onnx"), "not an ONNX model"),
        (("bench", "empty.onnx"), "empty"),
        (("bench", "builtin:detektor"), "did you mean 'detector'"),
        (("bench", "null", "--set", "backend=nul"), "did you mean 'null'"),
        (("bench", "null", "--set", "backend=null", "--fps", "0"), "--fps is out of range"),
        (("bench", "null", "--set", "backend=null", "--load", "pased:30"), "did you mean 'paced'"),
        (("bench", "null", "--set", "backend=null", "--load", "paced:fast"), "paced:FPS is not a number"),
        (("bench", "null", "--set", "bakend=null"), "did you mean 'backend'"),
        (("bench", "null", "--set", "backend=null", "--video", "text.onnx"), "cannot be read"),
        (("bench", "null", "--set", "backend=null", "--video", "none.mp4"), "no such video"),
        (("bench", "null", "--set", "backend=null", "--set", "option.latncy=3"), "latency_us"),
        (("sweep", "null", "--vary", "batch"), "--vary"),
        (("sweep", "null", "--vary", "batsh=1"), "did you mean 'batch'"),
        (("compare", "a", "b"), "no trace"),
        (("report", "nowhere"), "no trace"),
        (("explain", "plan.yaml"), "threads"),
        (("explain", "missing.onnx", "--expect", "5.1ms"), "--from is missing"),
        (("explain", "missing.onnx", "--expect", "5.1ms", "--from", "benchmarkapp"), "did you mean 'benchmark_app'"),
        (("explain", "missing.onnx", "--expect", "soon", "--from", "loop"), "not a duration"),
    ],
)
def test_wrong_input_is_a_sentence_and_exit_code_2(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    """What, got, expected, what to do, on standard error; never a traceback."""
    (tmp_path / "text.onnx").write_text("this is not a model " * 20)
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "plan.yaml").write_text("models: [{name: m, model: m.onnx, thread: 2}]")
    result = framepace(*arguments, cwd=tmp_path)
    assert result.returncode == 2, result.stdout + result.stderr
    assert says in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.long
def test_capacity_answers_with_its_exit_code(tmp_path: Path) -> None:
    """2 cameras at most are tried and hold: 0. A budget that no frame can keep: 1, and by how much it fails."""
    plan = tmp_path / "plan.yaml"
    options = "{device: ideal, kernels: 1, gflops: 5.0, mbytes: 0, weights_mb: 0, blocks: 100, efficiency: 0.5}"
    model = f"{{name: net, model: 'null', backend: simulated, transfer: device, options: {options}}}"
    plan.write_text(f"models: [{model}]\ntarget: {{fps: 100}}\n")
    rest = ("--max", 2, "--scope", "pipeline", "--seconds", 1, "--out", tmp_path / "out")
    held = framepace("capacity", plan, *rest, "--json")
    assert held.returncode == 0, held.stderr
    found = document(held)
    assert (found["schema"], found["cameras"], found["missed"]) == ("framepace.capacity/1", 2, None)
    assert all((Path(point["trace"]) / "meta.json").exists() for point in found["points"])
    other = framepace("capacity", plan, "--p99-ms", 0.5, *rest)
    assert other.returncode == 2, "another case in the same folder"
    assert "target.p99_ms" in other.stderr
    missed = framepace("capacity", plan, "--p99-ms", 0.5, *rest, "--overwrite")
    assert missed.returncode == 1
    assert "not one camera" in missed.stdout
    assert "100.0% of the frames are late" in missed.stdout


def test_plan_show_explains_what_is_not_the_default(tmp_path: Path) -> None:
    """A line for each such setting, the target, and a warning for a plan of another machine; JSON says the same."""
    plan = tmp_path / "plan.yaml"
    plan.write_text("models: [{name: net, model: net.onnx, threads: 2}]\nmachine: 0123456789ab\ntarget: {fps: 25}\n")
    shown = framepace("plan", "show", plan)
    assert shown.returncode == 0
    assert "threads=2" in shown.stdout
    assert "p99 within 40.0 ms" in shown.stdout
    assert "made for machine 0123456789ab, not for this one" in " ".join(shown.stdout.split())
    found = document(framepace("plan", "show", plan, "--json"))
    assert [line["setting"] for part in found["parts"] for line in part["lines"]] == ["threads"]
    assert found["machine"] == {"made_for": "0123456789ab", "same": False}


HEAVY = {"numpy", "onnx", "onnxruntime", "av", "plotly", "pyarrow"}


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_imports_nothing_that_takes_long_to_import(option: str) -> None:
    """Whoever looks for an option does not wait for NumPy."""
    program = (
        "import sys\n"
        "from framepace.cli.app import app\n"
        "try:\n"
        f"    app([{option!r}])\n"
        "finally:\n"
        f"    print('imported', sorted({HEAVY} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported []"


def test_every_command_has_help() -> None:
    """Each has a sentence and its options."""
    for name in COMMANDS:
        result = CliRunner().invoke(app, [name, "--help"])
        assert result.exit_code == 0
        assert len(result.output.splitlines()) > 4
