"""Serving a plan: from names of models and plans to a server of the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from framepace import values
from framepace.cases import CaseOptions, Models, case_of
from framepace.errors import UsageError
from framepace.facts.plan import Plan
from framepace.progress import Tell, silent

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from framepace.serving.options import ServeOptions
    from framepace.serving.server import Server

_PLAN_ENDINGS = (".yaml", ".yml")


def serve(
    models: Models, options: ServeOptions | None = None, *, tell: Tell | None = None, **case: Unpack[CaseOptions]
) -> Server:
    """A server that answers requests of the Open Inference Protocol (KServe v2), over HTTP and gRPC.

    It listens from when it is entered (`with serve(...)`) until it is left; then accepted requests are still answered.

    Args:
        models: paths or 'builtin:NAME', a plan file (.yaml), a plan or a case; of several plan files each is a version
            of its models: 1, 2, and so on.
        options: where it listens, limits, deadline, token; on the loopback interface at 8000 and 8001 by default.
        tell: called with slow steps, such as building an engine.
        case: see `CaseOptions`; settings are applied to every plan.

    Raises:
        UsageError: what it needs is not installed, or an address cannot be had.
        FramepaceError: a plan or model cannot be loaded (when it is entered).
    """
    _check_installed()
    from framepace.serving.server import Server

    return Server(lambda: _plans(models, case), options, tell=tell or silent)


def _plans(models: Models, case: Mapping[str, Any]) -> Sequence[Plan]:
    """The plans as they are now on disk."""
    options: Any = {"fps": None, **case}
    if isinstance(models, str | Sequence):
        names = values.several(models, "models")
        if len(names) > 1 and all(str(name).endswith(_PLAN_ENDINGS) for name in names):
            return [case_of("serve", name, **options).plan for name in names]
    if not isinstance(models, str | Sequence | Plan):
        return [models.plan]
    return [case_of("serve", models, **options).plan]


def _check_installed() -> None:
    """Raise UsageError where the libraries of the extra 'serve' lack."""
    try:
        import grpc  # noqa: F401
        import httptools  # noqa: F401
        import uvicorn  # noqa: F401
        import uvloop  # noqa: F401
    except ImportError as error:
        fix = "pip install 'framepace[serve]'"
        raise UsageError("serving needs libraries that are not installed", got=error, fix=fix) from error
