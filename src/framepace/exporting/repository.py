"""A model repository of Triton, from a plan: its folders and files, and what became of each setting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from framepace.errors import UsageError
from framepace.exporting import configuration
from framepace.exporting.answers import answers
from framepace.exporting.configuration import NETWORK, PREPARED
from framepace.exporting.pbtxt import Message, dumps
from framepace.exporting.subject import Subject, check_free, content, make_folder, subject
from framepace.facts.exported import Exported
from framepace.facts.plan import Plan
from framepace.models.convert.variant import weight_files
from framepace.progress import Tell, silent
from framepace.store import write_atomic

CONFIG = "config.pbtxt"


@dataclass(frozen=True)
class _Entry:
    """One model of the repository: its configuration, and the content of the files of its version."""

    name: str
    configuration: Message
    files: dict[str, bytes]


def export(
    plan: Plan, folder: Path, *, runtime: str | None = None, overwrite: bool = False, tell: Tell = silent
) -> Exported:
    """Write `plan` as a model repository of Triton into `folder`.

    Args:
        runtime: Triton's backend: 'onnxruntime', 'tensorrt', 'pytorch' or 'python'; None: the plan's own.
        overwrite: write over the models of the same names.

    Raises:
        UsageError: a model cannot run there. StoreError: a model is there already, or nothing can be written.
        ModelError: a model cannot be read, or its inputs are not fully described.
    """
    subjects = [subject(plan, model, runtime, tell) for model in plan.models]
    entries = [entry for one in subjects for entry in _entries(one)]
    _check_apart(entries)
    for entry in entries:
        check_free(folder / entry.name, overwrite, "the repository has that model already")
    written = [path for entry in entries for path in _write(folder, entry)]
    rows = tuple(answer for one in subjects for answer in answers(one))
    names = tuple(str(path.relative_to(folder)) for path in written)
    return Exported(folder=str(folder), models=plan.names, files=names, answers=rows, notes=_notes(subjects))


def _check_apart(entries: Iterable[_Entry]) -> None:
    """Raise UsageError where a model is named as a step of another one's ensemble is."""
    names = [entry.name for entry in entries]
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        fix = "give one of the models another name in the plan"
        raise UsageError("two models would lie in one folder of the repository", got=doubled[0], fix=fix)


def _notes(subjects: Iterable[Subject]) -> tuple[str, ...]:
    """What whoever starts the server has to know."""
    python = any(one.prepares or one.runtime == "python" for one in subjects)
    notes = ["the python models need numpy, av and onnxruntime in Triton's environment"] if python else []
    for one in subjects:
        inputs = one.model.inputs
        if inputs.states:
            notes.append(f"{one.model.name}: clients send {', '.join(inputs.states)} back with the next request")
        if inputs.values:
            notes.append(f"{one.model.name}: clients send the values of {', '.join(inputs.values)}")
    return tuple(notes)


def _entries(one: Subject) -> Iterator[_Entry]:
    """The models of the repository that one model of the plan becomes."""
    name = one.model.name
    if not one.prepares:
        yield _Entry(name, configuration.network(one, name), _network_files(one))
        return
    preparing = {"model.py": _program("prepare")}
    yield _Entry(f"{name}{PREPARED}", configuration.prepare(one, f"{name}{PREPARED}"), preparing)
    yield _Entry(f"{name}{NETWORK}", configuration.network(one, f"{name}{NETWORK}"), _network_files(one))
    yield _Entry(name, configuration.ensemble(one, name), {})


def _network_files(one: Subject) -> dict[str, bytes]:
    contents = {one.file_name: content(one.file)}
    if one.file_name == "model.onnx":
        contents |= {path.name: path.read_bytes() for path in weight_files(one.file)}
    if one.runtime == "python":
        contents["model.py"] = _program("network")
    return contents


def _program(name: str) -> bytes:
    return files("framepace.exporting.pythonmodels").joinpath(f"{name}.py").read_bytes()


def _write(folder: Path, entry: _Entry) -> Iterator[Path]:
    """Write one model; its configuration last, so that a server that watches finds a whole model."""
    version = folder / entry.name / "1"
    make_folder(version)
    for name, data in entry.files.items():
        write_atomic(version / name, data)
        yield version / name
    path = folder / entry.name / CONFIG
    write_atomic(path, dumps(entry.configuration).encode())
    yield path
