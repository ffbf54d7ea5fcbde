"""framepace control: orders to a run that goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from framepace.cli import options as o
from framepace.cli.show import give
from framepace.cli.standardstreams import apart

app = typer.Typer(
    no_args_is_help=True, help="Add, remove and change the sources of a `framepace run --control PATH`; its status."
)
_PATH = "the path that was given to --control"
Socket = Annotated[Path, o.path_argument("PATH", help=_PATH)]
Source = Annotated[
    str,
    typer.Argument(metavar="NAME=ADDRESS", help="the source, e.g. gate=rtsp://10.0.0.10/stream", show_default=False),
]
Changed = Annotated[
    str,
    typer.Argument(
        metavar="NAME|NAME=ADDRESS", help="the source, with its address if that shall change", show_default=False
    ),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="the source's name", show_default=False)]
Field = Annotated[
    list[str],
    typer.Option(
        "--field",
        metavar="NAME=VALUE",
        help="how it is read: every, max_age_ms, priority, loop, pace or transport; repeat for several",
    ),
]


@app.command()
@apart
def add(path: Socket, source: Source, field: Field = []) -> None:
    """Add a source to the run."""
    _order(path, {"do": "add", "source": _fields(source, field)})


@app.command()
@apart
def change(path: Socket, source: Changed, field: Field = []) -> None:
    """Change fields of a source, or with NAME=ADDRESS all of it: what --field does not say has its default then."""
    if "=" in source:
        _order(path, {"do": "change", "source": _fields(source, field)})
    else:
        _order(path, {"do": "change", "name": source, "fields": _values(field)})


@app.command()
@apart
def remove(path: Socket, name: Name) -> None:
    """Remove a source from the run."""
    _order(path, {"do": "remove", "name": name})


@app.command()
@apart
def status(path: Socket, json: o.Json = False) -> None:
    """Say how the run stands."""
    import msgspec

    from framepace.facts.running import RunStatus
    from framepace.reporting.rundocument import run_document
    from framepace.reporting.terminal.running import drawn_run

    stands = msgspec.convert(_ask(path, {"do": "status"})["status"], RunStatus)
    give(json, lambda: run_document(stands), lambda out: out.print(drawn_run(stands, out.width, 1000)))


@app.command()
@apart
def record(path: Socket) -> None:
    """Write the last minute of the run as a trace, and say in which folder."""
    print(_ask(path, {"do": "record"})["recording"])


@app.command()
@apart
def stop(path: Socket) -> None:
    """End the run in order."""
    _order(path, {"do": "stop"})


def _order(path: Path, order: dict[str, Any]) -> None:
    _ask(path, order)
    print("done")


def _ask(path: Path, order: dict[str, Any]) -> dict[str, Any]:
    from framepace.running.control import ask

    return ask(path, order)


def _fields(source: str, settings: list[str]) -> dict[str, Any]:
    """The source, as a run takes it."""
    import msgspec

    from framepace.running.specs import spec_of

    return dict(msgspec.to_builtins(spec_of(source, 1, _values(settings))))


def _values(settings: list[str]) -> dict[str, Any]:
    """Fields by their names, as --field says them."""
    return {name.replace("-", "_"): _value(text) for name, text in o.parse_pairs(settings, "--field").items()}


def _value(text: str) -> Any:
    """A number, true or false where it reads as one, else the text."""
    import msgspec

    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
