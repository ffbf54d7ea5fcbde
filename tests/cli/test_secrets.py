"""The password of a camera is in nothing that any command prints or writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from framepace.cli.app import app
from framepace.video import source
from framepace.video.file import VideoFile
from framepace.video.live import public

CANARY = "CaNaRy77"
CAMERA = f"rtsp://admin:a@b/{CANARY}@camera.local/1?user=me&token={CANARY}"
SIMULATED = ("--backend", "simulated", "--device", "t4")


class Camera(VideoFile):
    """A camera that gives the synthetic pattern, opened with the whole address."""

    def __init__(self, address: str, clock: Any, **_: Any) -> None:
        assert CANARY in address
        super().__init__(source.SYNTHETIC, True, source.synthetic_video((64, 64)))
        self.name = public(address)


@pytest.fixture(autouse=True)
def _cameras(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(source, "LiveStream", Camera)
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def run(*arguments: object) -> tuple[int, str]:
    """Exit code, and all that is printed or said in an exception."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    said = "".join(repr(error) + str(error) for error in _chain(result.exception))
    return result.exit_code, result.output + result.stderr + said


def _chain(error: BaseException | None) -> list[BaseException]:
    """The error, as it is printed. What caused it is shown with a traceback only, which nobody sees."""
    return [] if error is None else [error]


def leaks(folder: Path, printed: str) -> list[str]:
    """Where the canary is: names and contents of files, and what was printed."""
    found = [str(path) for path in folder.rglob("*") if CANARY in str(path)]
    found += [str(path) for path in folder.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    if CANARY in printed:
        found.append(printed[max(0, printed.index(CANARY) - 200) :][:400])
    return found


def test_no_verb_shows_or_stores_the_password(tmp_path: Path) -> None:
    """bench, sweep, capacity, tune, explain, report, compare and plan show, with and without --json."""
    camera = ("builtin:classifier", *SIMULATED, "--video", CAMERA)
    short = ("--seconds", 1, "--fps", 30)
    commands: list[tuple[object, ...]] = [
        ("bench", *camera, *short, "--out", "trace"),
        ("bench", *camera, *short, "--out", "other", "--json"),
        ("report", "trace", "other", "--out", "report.html", "--json"),
        ("compare", "trace", "other", "--json"),
        ("sweep", *camera, *short, "--vary", "workers=1,2", "--vary", f"calibration={CAMERA}", "--out", "s1", "--json"),
        ("sweep", *camera, *short, "--vary", f"calibration={CAMERA},none", "--out", "s2"),
        ("capacity", *camera, "--fps", 30, "--max", 1, "--seconds", 1, "--out", "capacity", "--json"),
        ("explain", *camera, "--set", f"calibration={CAMERA}", "--time-limit", 8, "--out", "explain", "--json"),
        ("plan", "show", "explain/plan.yaml"),
        ("tune", *camera, "--set", f"calibration={CAMERA}", "--time-limit", 8, "--out", "tune", "--json"),
        ("plan", "show", "tune/plan.yaml", "--json"),
    ]
    for command in commands:
        code, printed = run(*command)
        assert code in (0, 1), f"{command[0]}: {printed[-2000:]}"
        assert not leaks(tmp_path, printed), command[0]
    assert "***" in (tmp_path / "trace" / "meta.json").read_text()
    assert "give the address again" in (tmp_path / "trace" / "meta.json").read_text()
    assert "give the address again" in (tmp_path / "explain" / "plan.yaml").read_text()
    code, printed = run("explain", "trace")
    assert code != 0
    assert "--video" in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ("bench", CAMERA),
        ("bench", "null", "--backend", "null", "--load", f"replay:{CAMERA}"),
        ("bench", "null", "--backend", "null", "--video", CAMERA, "--set", "cameras=0"),
        ("bench", "null", "--backend", "null", "--set", f"device={CAMERA}"),
        ("bench", "null", "--backend", "null", "--set", f"scope={CAMERA}"),
        ("bench", "null", "--backend", "null", "--set", CAMERA.partition("?")[0]),
        ("bench", "null", "--backend", "null", "--fps", CAMERA),
        ("bench", "null", "--backend", "null", "--size", CAMERA),
        ("bench", "null", "--backend", "null", "--shape", CAMERA),
        ("bench", "null", "--backend", "null", "--load", CAMERA),
        ("bench", "null", "--backend", "null", "--layout", CAMERA),
        ("bench", "null", "--backend", CAMERA),
        ("bench", "builtin:classifier", "--set", "precision=int8", "--set", f"calibration={CAMERA}", "--seconds", "1"),
        ("sweep", "null", "--backend", "null", "--vary", f"batch={CAMERA}"),
        ("sweep", "null", "--backend", "null", "--vary", f"{CAMERA}=1"),
        ("tune", CAMERA), ("capacity", CAMERA, "--fps", "30"), ("explain", CAMERA),
        ("explain", "null", "--expect", CAMERA),
        ("compare", CAMERA, CAMERA), ("report", CAMERA), ("plan", "show", CAMERA),
    ],
)  # fmt: skip
def test_no_refusal_shows_the_password(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """An address where a model, a trace, a plan, a load or a value is wanted."""
    code, printed = run(*arguments)
    assert code != 0
    assert not leaks(tmp_path, printed)


def test_a_plan_with_a_password_runs_and_is_shown_without(tmp_path: Path) -> None:
    """What a user wrote stays in their file only."""
    text = f"models: [{{name: m, model: 'builtin:classifier', backend: simulated, calibration: '{CAMERA}'}}]\n"
    (tmp_path / "mine.yaml").write_text(text)
    written = tmp_path / "out"
    written.mkdir()
    for command in (
        ("plan", "show", "mine.yaml"),
        ("bench", "mine.yaml", "--seconds", 1, "--fps", 30, "--out", "out/t"),
    ):
        code, printed = run(*command)
        assert code in (0, 1), printed
        assert not leaks(written, printed)


def test_an_environment_variable_gives_the_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is put in when the camera is opened, and stays a reference in the trace, which can be run again."""
    monkeypatch.setenv("CAMERA_PW", CANARY)
    address = "rtsp://admin:${CAMERA_PW}@camera.local/1"
    code, printed = run(
        "bench", "builtin:classifier", *SIMULATED, "--video", address, "--fps", 30, "--seconds", 1, "--out", "trace"
    )
    assert code == 0, printed
    assert not leaks(tmp_path, printed)
    assert "${CAMERA_PW}" in (tmp_path / "trace" / "meta.json").read_text()


@pytest.mark.parametrize(
    "before",
    [(), ("doctor",), ("plan",), ("bench", "null", "--scope"), ("bench", "null", "--out"), ("report", "--out")],
)
def test_a_wrong_command_line_is_repeated_without_the_password(tmp_path: Path, before: tuple[str, ...]) -> None:
    """An address as a command, an option, one argument too many, a choice or a path; nothing is made."""
    for address in (CAMERA, f"--{CAMERA}", f"http://camera/{CAMERA}"):
        code, printed = run(*before, address)
        assert code != 0
        assert not leaks(tmp_path, printed)
    assert not list(tmp_path.iterdir())
