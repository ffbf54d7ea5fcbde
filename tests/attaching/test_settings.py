"""Settings of a user's own program: what they are, and that they reach its libraries."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from framepace import api
from framepace.attaching.answers import Answer, Compared
from framepace.attaching.program import observe
from framepace.attaching.settings import checked, instead, variables, with_arguments
from framepace.errors import UsageError
from framepace.facts.plan import Target

PROGRAM = """
import gc, os, time
import onnxruntime
from onnx import TensorProto, helper
x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
options = session.get_session_options()
try:
    spinning = options.get_session_config_entry("session.intra_op.allow_spinning")
except RuntimeError:
    spinning = "as usual"
before = time.process_time()
time.sleep(0.2)
awake = time.process_time() - before > 0.005
print(
    options.intra_op_num_threads, spinning, gc.isenabled(), awake,
    os.environ.get("THREADS"), os.environ.get("OMP_WAIT_POLICY"),
)
raise SystemExit(4)
"""


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    """A program that prints what it runs with."""
    path = tmp_path / "settings.py"
    path.write_text(PROGRAM)
    return [sys.executable, str(path)]


def test_launch_changes_what_the_libraries_do_and_keeps_the_exit_code(
    program: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """Threads, spinning, collections, sleeps and a variable of the user's own."""
    settings = {"threads": 1, "spinning": "off", "collections": "off", "sleep": "spin", "THREADS": 7}
    assert api.launch(program, settings) == 4
    assert capfd.readouterr().out.split() == ["1", "0", "False", "True", "7", "PASSIVE"]


@pytest.mark.long
def test_a_setting_outlasts_what_the_program_sets_itself(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Two threads of PyTorch, though it asks for three; no collections, though it asks for them; a short interval."""
    pytest.importorskip("torch")
    path = tmp_path / "own.py"
    lines = (
        "import gc, sys, torch",
        "torch.set_num_threads(3)",
        "gc.enable()",
        "loop = []",
        "loop.append(loop)",
        "del loop",
        "print(torch.get_num_threads(), sys.getswitchinterval(), gc.collect(), gc.isenabled())",
    )
    path.write_text("\n".join(lines))
    settings = {"threads": 2, "switch-interval": "short", "collections": "off"}
    assert api.launch([sys.executable, str(path)], settings) == 0
    assert capfd.readouterr().out.split() == ["2", "0.0005", "0", "False"]


def test_another_model_gives_other_answers(tmp_path: Path) -> None:
    """A program that takes its operator from a variable; another variable changes nothing, nor does an argument."""
    path = tmp_path / "answers.py"
    load = PROGRAM.split("options =")[0].replace('"Relu"', "os.environ.get('KIND', 'Relu')")
    path.write_text(f"import numpy\n{load}for _ in range(40):\n    session.run(None, {{'x': numpy.ones(1, 'f')}})\n")
    before = answers(path, {})
    verdicts = {}
    for name, value in (("KIND", "Neg"), ("OTHER", "1"), ("--other", "1")):
        compared = Compared()
        compared.add(before, answers(path, {name: value}))
        verdicts[name] = compared.verdict
    assert verdicts == {"KIND": "changed", "OTHER": "same", "--other": "same"}


def answers(path: Path, settings: dict[str, str]) -> tuple[Answer, ...]:
    """What a program's models answer with settings."""
    return observe([sys.executable, str(path)], None, Target(), settings=checked(settings)).answers


def test_without_settings_nothing_is_changed(program: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """The variables that bring settings into a program are not even there."""
    assert variables({}) == {}
    assert api.launch(program, {}) == 4
    assert capfd.readouterr().out.split()[1:4] == ["as", "usual", "True"]


def test_a_setting_that_a_program_does_not_have_is_named_with_those_that_it_has() -> None:
    """So is a value that a setting does not take."""
    with pytest.raises(UsageError, match="no such setting") as error:
        checked({"batch": 2})
    assert "spinning, threads" in str(error.value)
    with pytest.raises(UsageError, match="one value"):
        checked({"spinning": "on"})
    with pytest.raises(UsageError, match="threads"):
        checked({"threads": 0})


def test_an_argument_stands_where_the_command_has_it_else_at_its_end() -> None:
    """Either way in which arguments are written; what is no argument is left alone."""
    command = ["python", "app.py", "--size", "640", "--fps=30", "--", "video.mp4"]
    assert with_arguments(command, checked({"--size": 320}))[3] == "320"
    assert with_arguments(command, {"--fps": "25"})[4] == "--fps=25"
    assert with_arguments(command[:3], {"--half": "1"}) == ["python", "app.py", "--size", "--half", "1"]
    assert with_arguments(command, {"THREADS": "1", "spinning": "off"}) == command


def test_what_to_write_instead_has_the_value() -> None:
    """For settings and for variables."""
    assert "intra_op_num_threads = 2" in instead("threads", "2")
    assert instead("THREADS", "2") == "export THREADS=2"
    assert instead("--size", "320") == "--size 320"
