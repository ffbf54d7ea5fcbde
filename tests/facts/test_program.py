"""The subject of a trace: a plan or a program, and what of a program is kept."""

from __future__ import annotations

import msgspec
import pytest

from framepace.errors import UsageError
from framepace.facts.plan import Target
from framepace.facts.program import Program, without_secrets
from framepace.facts.trace import TraceMeta
from framepace.testing import make_meta

PROGRAM = Program(command=("python", "app.py"), folder="shop", names=("detect", "track"), target=Target(fps=25.0))


def test_names_are_those_of_the_models_of_a_plan_or_of_a_program() -> None:
    """Whoever reads a trace need not know which of the two it is of."""
    assert make_meta(("a", "b")).names == ("a", "b")
    assert make_meta(program=PROGRAM).names == ("detect", "track")
    assert make_meta(program=PROGRAM).subject.target.budget_ms == 40.0
    assert (make_meta().is_plan, make_meta(program=PROGRAM).is_plan) == (True, False)


def test_what_needs_a_plan_refuses_the_trace_of_a_program() -> None:
    """A UsageError that names the trace and the program's stages."""
    with pytest.raises(UsageError, match=r"made-up of a program: detect, track"):
        _ = make_meta(program=PROGRAM).plan


def test_a_trace_has_exactly_one_subject() -> None:
    """Neither, or both, is an error when a meta is made and when one is read."""
    raw = msgspec.to_builtins(make_meta())
    for changes in ({"program": msgspec.to_builtins(PROGRAM)}, {"plan": None}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({name: value for name, value in {**raw, **changes}.items() if value}, TraceMeta)


def test_the_json_of_a_plans_trace_has_no_word_of_programs() -> None:
    """Older versions refuse unknown fields, so a plan's trace has none; a program's has `program` and no `plan`."""
    assert {"plan", "program"} & msgspec.to_builtins(make_meta()).keys() == {"plan"}
    assert {"plan", "program"} & msgspec.to_builtins(make_meta(program=PROGRAM)).keys() == {"program"}


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["app", "--fps", "30"], ("app", "--fps", "30")),
        (["app", "rtsp://me:pw@camera/1"], ("app", "rtsp://***@camera/1")),
        (["app", "--url=http://me@host/x"], ("app", "--url=http://***@host/x")),
        (["app", "--token", "abc", "--fps", "30"], ("app", "--token", "***", "--fps", "30")),
        (["app", "--api-key=abc"], ("app", "--api-key=***")),
        (["env", "DB_PASSWORD=abc", "app"], ("env", "DB_PASSWORD=***", "app")),
        (["python", "secret_santa.py", "in"], ("python", "secret_santa.py", "in")),
    ],
)
def test_secrets_of_a_command_line_are_not_kept(command: list[str], shown: tuple[str, ...]) -> None:
    """Users and passwords in addresses, and values of options and variables whose names say that they are secret."""
    assert without_secrets(command) == shown
