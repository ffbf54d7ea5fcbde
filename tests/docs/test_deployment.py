"""The examples of deployment are run: the unit's command line, the image's, and what checks their health."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.docs.pages import ROOT
from tests.doubles.commands import Command
from tests.doubles.processes import waited_for

DEPLOY = ROOT / "examples" / "deploy"
PROGRAM = "/opt/framepace/bin/framepace"
TOKEN = "open sesame"


def unit() -> dict[str, list[str]]:
    """The unit's settings, each with all its values."""
    settings: dict[str, list[str]] = {}
    for line in (DEPLOY / "framepace.service").read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            settings.setdefault(name, []).append(value)
    return settings


def image(instruction: str) -> list[str]:
    """The JSON array after an instruction of the Dockerfile."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    found = re.search(rf"^{instruction}\b[^\[\n]*(\[.*\])$", text, re.M)
    assert found
    words: list[str] = json.loads(found[1])
    return words


def here(words: Sequence[str], folder: Path) -> list[str]:
    """A command with its folders in `folder`, and any free port."""
    moved = [re.sub(r"(?<![\w.])(/etc/framepace|%t/framepace|/data)", str(folder), word) for word in words]
    return [re.sub(r"^(0\.0\.0\.0|127\.0\.0\.1):8080$", "127.0.0.1:0", word) for word in moved]


@contextmanager
def running(words: Sequence[str], folder: Path) -> Iterator[str]:
    """The command while it runs; the address of its dashboard. At the end it gets SIGTERM, which is no error."""
    (folder / "plan.yaml").write_text("models: [{name: detector, model: 'null', backend: 'null'}]\n")
    (folder / "sources.yaml").write_text("sources: [{name: gate, address: synthetic, loop: true}]\n")
    with Command(folder, *here(words, folder), FRAMEPACE_TOKEN=TOKEN) as command:
        waited_for(lambda: not command.runs or '"dashboard"' in command.err.rpartition("\n")[0])
        told = next((line for line in command.err.splitlines() if '"dashboard"' in line), command.err)
        yield json.loads(told)["text"]
        command.signal(signal.SIGTERM)
        assert command.wait() == 0, command.err
        assert '"run.ended"' in command.err


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """No setting is unknown or cannot mean anything."""
    text = (DEPLOY / "framepace.service").read_text(encoding="utf-8")
    (tmp_path / "framepace.service").write_text(text.replace(PROGRAM, "/bin/true"))
    told = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "framepace.service")], capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stderr) == (0, "")


def test_the_unit_runs_and_ends_in_order(tmp_path: Path) -> None:
    """Its command line, in a folder of our own: results, trace and control socket are there; SIGTERM is no error."""
    (command,) = unit()["ExecStart"]
    program, *words = shlex.split(command)
    assert program == PROGRAM
    with running(words, tmp_path) as url:
        with pytest.raises(HTTPError, match="401"):
            urlopen(f"{url}status", timeout=30)
        with urlopen(Request(f"{url}status", headers={"Authorization": f"Bearer {TOKEN}"}), timeout=30) as answer:
            assert json.load(answer)["sources"][0]["name"] == "gate"
        assert (tmp_path / "control").is_socket()
    assert (tmp_path / "results.jsonl").exists()
    assert (tmp_path / "trace").is_dir()


def test_the_image_runs_and_its_health_is_seen(tmp_path: Path) -> None:
    """Its command line, and the command that asks for its health: 0 while it runs, another code when it has ended."""
    assert image("ENTRYPOINT") == ["framepace"]
    python, *words = image("HEALTHCHECK")
    assert python == "python3"
    with running(image("CMD"), tmp_path) as url:
        check = [sys.executable, *(word.replace("http://127.0.0.1:8080/", url) for word in words)]
        assert subprocess.run(check, check=False).returncode == 0
    assert subprocess.run(check, check=False, stderr=subprocess.DEVNULL).returncode != 0


def test_what_the_image_is_built_from_is_not_ignored() -> None:
    """Every file that the Dockerfile copies from the checkout exists, and .dockerignore lets it through."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    copied = [word for words in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.M) for word in words.split()]
    passed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert copied
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in passed


def test_the_sources_are_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example is read, and its secrets are references to the environment."""
    from framepace.running.specs import load_sources

    sources = load_sources(DEPLOY / "sources.yaml")
    assert [source.name for source in sources] == ["gate", "yard"]
    assert all("${CAMERA_PASSWORD}" in source.address for source in sources)
