"""The front door as a user's editor, type checker and interpreter see it."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import framepace
from framepace.errors import UsageError

ROOT = Path(__file__).parents[2]
VERBS = (
    "attach", "bench", "explain", "explain_log", "explain_program", "launch", "sweep", "tune", "capacity", "accuracy",
    "calibrate", "hunt", "rank", "mend", "compare", "layers", "summary", "report", "doctor",
    "run", "export", "verify_export", "import_triton", "fleet_capacity",
)  # fmt: skip
HELPERS = (
    "frame",
    "stage",
    "serve",
    "start",
    "make_case",
    "predictor",
    "load_trace",
    "load_plan",
    "load_explanation",
    "save_plan",
)
RECORDS = (
    "AccuracyCheck", "Agreement", "Batching", "Burst", "CalibrationStudy", "Candidate", "Capacity", "Case", "Check",
    "Closed", "Comparison", "Delay", "EnginePlan", "Explanation", "Exploration", "Exported", "Finding", "FleetSize",
    "Gate", "Goal", "Hunt", "Imported", "Input", "Inputs", "LogExplanation", "Mended", "ModelPlan", "Observation",
    "OutputAgreement", "Paced", "Plan", "Poisson", "Prepare", "ProgramExplanation", "ProgramTrial", "Ranking",
    "Replay", "Result", "RunStatus", "SettingAnswer", "SinkStatus", "SourcePolicy", "SourceSpec", "SourceStatus",
    "Stop", "Summary", "Sweep", "Target", "Trace", "Tuning", "Verification", "Warmup", "Window", "Workload",
)  # fmt: skip
TYPES = ("CaseOptions", "Models", "RunOptions")
ERRORS = (
    "BackendError", "DeviceLost", "DeviceMemoryError", "FramepaceError", "ModelError", "NotEnoughSamples", "PlanError",
    "SourceError", "StoreError", "UsageError",
)  # fmt: skip


def test_what_is_exported() -> None:
    """The list that users may rely on; a name that comes or goes is a decision."""
    assert sorted(framepace.__all__) == sorted(VERBS + HELPERS + RECORDS + TYPES + ERRORS)
    assert all(getattr(framepace, name) is not None for name in framepace.__all__)
    assert set(framepace.__all__) <= set(dir(framepace))


def test_a_name_that_is_not_exported_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="no attribute 'benhc'"):
        framepace.benhc  # type: ignore[attr-defined]  # noqa: B018


def test_importing_framepace_imports_nothing_heavy() -> None:
    """The records of plans and workloads cost msgspec alone; numpy, onnx, av and the like come with the verbs."""
    program = (
        "import sys, framepace; before = sorted(m for m in sys.modules if m.startswith('framepace.'));"
        "framepace.Plan, framepace.Paced, framepace.UsageError;"
        "heavy = {'numpy', 'onnx', 'onnxruntime', 'av', 'plotly', 'pyarrow', 'scipy', 'rich', 'typer'};"
        "print(before, sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "[]"]


@pytest.mark.parametrize("name", [*VERBS, "make_case", "predictor"])
def test_every_verb_documents_what_it_takes_returns_and_raises(name: str) -> None:
    """Each parameter stands under Args, alone or with what belongs to it, and none is typed Any."""
    verb = getattr(framepace, name)
    text = inspect.getdoc(verb) or ""
    parameters = inspect.signature(verb).parameters
    assert "Returns:" in text
    assert "Raises:" in text or name == "doctor"
    for parameter in parameters.values():
        assert re.search(rf"^    (\w+, )*{parameter.name}(, \w+)*: ", text, re.MULTILINE), parameter.name
        assert parameter.annotation != "Any", parameter.name


@pytest.mark.parametrize("name", ["CaseOptions", "RunOptions"])
def test_every_option_is_documented(name: str) -> None:
    """The shared options are keys of a typed dict whose docstring has a line for each."""
    options: Any = getattr(framepace, name)
    documented = "".join(inspect.getdoc(kind) or "" for kind in (framepace.CaseOptions, framepace.RunOptions))
    for key in options.__optional_keys__:
        assert f"    {key}: " in documented, key


@pytest.mark.parametrize("verb", ["bench", "explain", "capacity", "tune"])
def test_a_typo_is_answered_by_the_verb_itself(verb: str) -> None:
    """`video=` names the verb and the nearest option."""
    with pytest.raises(UsageError) as error:
        getattr(framepace, verb)("null", video="a.mp4")
    assert f"unknown {verb}() option 'video'" in str(error.value)
    assert "did you mean 'videos'?" in str(error.value)


def test_options_beside_a_case_are_refused() -> None:
    """They would change nothing, which is not to be found out from the numbers."""
    case = framepace.make_case("null", fps=50)
    with pytest.raises(UsageError, match="takes no options with a complete case"):
        framepace.bench(case, fps=60)


def test_a_users_program_is_checked_by_its_types() -> None:
    """mypy --strict, as the project sets it, accepts every verb and field of the program, and sees each of its marked
    mistakes. With the options of `make check`, whose cache this shares: others would make each renew it.
    """
    program = str((Path(__file__).parent / "user_program.py").relative_to(ROOT))
    done = subprocess.run([sys.executable, "-m", "mypy", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    assert re.search(r"(Success: no issues|Found \d+ errors?) ", done.stdout), done.stdout
    assert [line for line in done.stdout.splitlines() if line.startswith(program)] == []
