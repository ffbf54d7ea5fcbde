"""What a command is given reaches what it calls, and what it tells people to run next."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from types import FunctionType
from typing import Any

import pytest
import typer
from msgspec.structs import replace

from framepace import cli
from framepace.cli import serve
from framepace.cli.app import app
from framepace.cli.explain import next_command
from tests.reporting import samples


def commands() -> Iterator[FunctionType]:
    """The function of every command."""
    for module in pkgutil.iter_modules(cli.__path__):
        found = getattr(import_module(f"framepace.cli.{module.name}"), "command", None)
        if isinstance(found, FunctionType):
            yield found


@pytest.mark.parametrize("command", list(commands()), ids=lambda command: command.__module__.rpartition(".")[2])
def test_every_option_of_a_command_is_read(command: FunctionType) -> None:
    """An option that nobody reads is accepted and does nothing, as --raise-priority did."""
    (function,) = ast.parse(inspect.getsource(command)).body
    assert isinstance(function, ast.FunctionDef)
    read = {node.id for part in function.body for node in ast.walk(part) if isinstance(node, ast.Name)}
    assert set(inspect.signature(command).parameters) - read == set()


@pytest.mark.parametrize(("model", "is_example"), [("builtin:detector", True), ("mine.onnx", False)])
def test_only_an_example_is_followed_by_the_command_for_a_model_of_your_own(model: str, is_example: bool) -> None:
    """Who has just explained their own model on their own video is not told to do so."""
    found = samples.explanation()
    plan = replace(found.plan, models=(replace(found.plan.models[0], model=model),))
    assert bool(next_command(replace(found, plan=plan))) is is_example


def test_what_is_served_is_said_within_80_columns() -> None:
    """Where it listens has a line of its own, which nothing breaks."""
    models = [(name, "1") for name in ("detector", "classifier", "recogniser", "depth", "segmentation", "tracker")]
    lines = serve.listening_lines(models, {"HTTP": "http://127.0.0.1:8000", "gRPC": "127.0.0.1:8001"})
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("serving detector version 1, classifier version 1,")
    assert lines[-1] == "  HTTP http://127.0.0.1:8000 and gRPC 127.0.0.1:8001 (Ctrl-C ends)"
    assert " ".join(line.strip() for line in lines[:-1]) == "serving " + ", ".join(
        f"{name} version 1" for name, _ in models
    )


def options() -> Iterator[tuple[str, Any]]:
    """Every option of every command, with the name of the command."""
    waiting: list[tuple[str, Any]] = [("framepace", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop()
        waiting += [(f"{name} {key}", inner) for key, inner in getattr(command, "commands", {}).items()]
        yield from ((name, option) for option in command.params)


def test_every_option_says_what_it_takes_in_words_that_the_terminal_shows() -> None:
    """Brackets in a help text are styles to the terminal, which swallows them with the default that stood in them."""
    for command, option in options():
        where = f"{command} {option.opts[0]}"
        assert option.help or option.name == "help", where
        assert re.search(r"\[[a-z#/@]", option.help or "") is None, where
