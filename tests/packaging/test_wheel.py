"""What people install: the wheel and the source distribution, and the wheel at work on the oldest and newest Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import framepace

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).parents[2]
ASSETS = (
    "framepace/py.typed",
    "framepace/reporting/page/assets/report.css",
    "framepace/reporting/page/assets/report.js",
)


def run(*command: object, cwd: Path, timeout: float = 200) -> str:
    """Standard output of a command that must succeed, in an environment without this project's paths."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def make_environment(interpreter: str | Path, folder: Path, *packages: object) -> Path:
    """A fresh virtual environment with packages; the folder of its programs."""
    run(interpreter, "-m", "venv", folder, cwd=folder.parent)
    pip = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(*pip, *packages, cwd=folder.parent, timeout=900)
    return folder / "bin"


def find_interpreter(version: str) -> Path | None:
    """A Python of that version: on the path, or one of pyenv."""
    on_path = shutil.which(f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [Path(path) for path in [on_path] if path is not None]
    candidates += [folder / "bin/python" for folder in sorted(pyenv.glob(f"{version}.*"))]
    for python in candidates:
        works = subprocess.run([python, "-c", "import ensurepip, venv"], capture_output=True).returncode == 0
        if works:
            return python
    return None


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with wheel and source distribution, built in an environment of their own."""
    folder = tmp_path_factory.mktemp("build")
    programs = make_environment(sys.executable, folder / "env", "hatchling")
    run(programs / "python", "-m", "hatchling", "build", "--directory", folder / "dist", cwd=ROOT)
    return folder / "dist"


def wheel_of(built: Path) -> Path:
    """The only wheel."""
    (wheel,) = built.glob("*.whl")
    return wheel


def test_the_wheel_has_the_package_its_assets_and_its_licence_and_no_tests(built: Path) -> None:
    """Everything that runs is in it, and nothing else."""
    with zipfile.ZipFile(wheel_of(built)) as archive:
        names = archive.namelist()
        (metadata,) = [archive.read(name).decode() for name in names if name.endswith("/METADATA")]
        (entry_points,) = [archive.read(name).decode() for name in names if name.endswith("/entry_points.txt")]
    sources = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src/framepace").rglob("*.py")}
    assert sources | set(ASSETS) <= set(names)
    information = f"framepace-{framepace.__version__}.dist-info/"
    assert {name.partition("/")[0] + "/" for name in names} == {"framepace/", information}
    assert f"{information}licenses/LICENSE" in names
    assert not [name for name in names if "test_" in name or "__pycache__" in name]
    assert "License-Expression: Apache-2.0" in metadata
    assert "framepace = framepace.cli.main:main" in entry_points
    assert "[framepace.backends]" in entry_points


def test_the_source_distribution_builds_and_has_no_tests(built: Path) -> None:
    """Sources, what the build needs and what people read."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    pages = {"README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}
    assert {f"src/{name}" for name in ASSETS} | {"pyproject.toml"} | pages <= names
    assert not [name for name in names if name.startswith(("tests", "bench", ".venv"))]


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("version", ["3.10", "3.13"])
def test_the_wheel_works_in_a_fresh_environment(version: str, built: Path, tmp_path: Path) -> None:
    """doctor, --version and a short measurement run from an empty folder, with the pinned versions."""
    python = find_interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} with venv on this machine")
    programs = make_environment(python, tmp_path / "env", "-c", ROOT / "constraints.txt", wheel_of(built))
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run(programs / "framepace", "--version", cwd=empty).strip() == f"framepace {framepace.__version__}"
    assert run(programs / "python", "-m", "framepace", "-V", cwd=empty).strip() == f"framepace {framepace.__version__}"
    assert json.loads(run(programs / "framepace", "doctor", "--json", cwd=empty))["checks"]
    bench = run(programs / "framepace", "bench", "builtin:classifier", "--seconds", "1", "--json", cwd=empty)
    assert json.loads(bench)["summary"]["frames"]["requests"] > 0
