"""Plans to and from other servers: `export`, `verify_export` and `import_triton`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from framepace import values
from framepace.cases import DEFAULT_FPS, CaseOptions, Models, case_of
from framepace.errors import UsageError, unknown
from framepace.exporting.image import export_docker
from framepace.exporting.importing import Imported
from framepace.exporting.importing import import_triton as imported_from
from framepace.exporting.onnxfiles import export_onnx
from framepace.exporting.repository import export as export_repository
from framepace.facts.exported import Exported
from framepace.facts.settings import Case
from framepace.facts.verified import ROUNDS, SECONDS, Verification
from framepace.facts.workload import Closed, Paced
from framepace.progress import Tell, silent
from framepace.verifying import verify

if TYPE_CHECKING:
    from typing_extensions import Unpack

TARGETS = ("triton", "onnx", "docker")
_MOST_ROUNDS = 1000
_SHORTEST_S = 0.5


def export(
    models: Models,
    folder: str | Path,
    *,
    to: str = "triton",
    runtime: str | None = None,
    overwrite: bool = False,
    tell: Tell | None = None,
    **options: Unpack[CaseOptions],
) -> Exported:
    """Write a plan for other servers.

    Args:
        models: paths or 'builtin:NAME', one plan file (.yaml), a plan or a case.
        folder: what is written to; it may hold other models.
        to: 'triton' (a model repository), 'onnx' (the files as the plan runs them, and a plan of these) or 'docker'
            (a Dockerfile with all that it needs).
        runtime: with 'triton' its backend: 'onnxruntime', 'tensorrt', 'pytorch' or 'python'; None: by the plan.
        overwrite: write over files and models of the same names.
        tell: called with slow steps, such as converting a model.
        options: see `CaseOptions`.

    Returns:
        The files, and with 'triton' what became of each setting of the plan.

    Raises:
        UsageError: an option is invalid, or a model cannot run there.
        ModelError: a model cannot be read or converted, or its inputs are not fully described.
        StoreError: files of these names are there, or nothing can be written.
    """
    _check(to, runtime)
    plan = _case("export", models, options).plan
    path = values.path(folder, "folder")
    tell = tell or silent
    if to == "triton":
        return export_repository(plan, path, runtime=runtime, overwrite=overwrite, tell=tell)
    write = {"onnx": export_onnx, "docker": export_docker}[to]
    return write(plan, path, overwrite=overwrite, tell=tell)


def _check(to: str, runtime: str | None) -> None:
    """Raise UsageError for an unknown target, or a runtime where there is none to choose."""
    if to not in TARGETS:
        raise unknown("target", to, TARGETS)
    if runtime is not None and to != "triton":
        fix = "leave out the runtime, or export to triton"
        raise UsageError("a runtime is a backend of Triton", got=f"{runtime} with {to}", fix=fix)


def verify_export(
    models: Models,
    url: str,
    *,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    tell: Tell | None = None,
    **options: Unpack[CaseOptions],
) -> Verification:
    """Hold a plan against a server that runs it: the same answers, and both under the plan's load in turn.

    Args:
        models: paths or 'builtin:NAME', one plan file (.yaml), a plan or a case.
        url: address of the server (any of the Open Inference Protocol), 'http://127.0.0.1:8000' or 'grpc://...'; its
            models have the names of the plan's.
        rounds: of each side, interleaved.
        seconds: of each round, after its warm-up.
        tell: called with the current step, and the share (0-1) of the rounds that is done.
        options: see `CaseOptions`; without `fps` and `load` the rate is that of the plan's target, else 30.

    Returns:
        The answers, both sides in numbers with the ratio of each, in which stage they differ, and what was predicted
        of the server. Without the load where the answers are not those of the plan. After Ctrl-C what there is by then.

    Raises:
        UsageError: an option is invalid, or the pictures have several sizes.
        ModelError: the server has no such model, or one with other inputs. BackendError: it does not answer.
        KeyboardInterrupt: Ctrl-C before anything was compared.
    """
    rounds = values.whole_number(rounds, "rounds", least=1, most=_MOST_ROUNDS)
    seconds = values.duration_s(seconds, "seconds", least=_SHORTEST_S)
    case = _at_target(_case("verify_export", models, options))
    return verify(case, values.location(url, "url"), rounds=rounds, seconds=seconds, tell=tell or silent)


def import_triton(path: str | Path) -> Imported:
    """The plan of what NVIDIA Triton runs.

    Args:
        path: a model repository, a model's folder, or a config.pbtxt.

    Returns:
        `plan`, and `notes`: what of the configurations a plan cannot say, as sentences.

    Raises:
        UsageError: there is no configuration, a damaged one, or none with a network that framepace runs.
    """
    return imported_from(values.path(path, "path"))


def _case(verb: str, models: Models, options: Any) -> Case:
    if not isinstance(models, Case):
        options.setdefault("fps", None)
    return case_of(verb, models, **options)


def _at_target(case: Case) -> Case:
    """The case under the load that it names; one that names none is run at its target."""
    if case.workload.load != Closed():
        return case
    load = Paced(fps=case.plan.target.fps or DEFAULT_FPS)
    return replace(case, workload=replace(case.workload, load=load))
