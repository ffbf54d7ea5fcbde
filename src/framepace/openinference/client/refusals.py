"""What a server's refusal means to whoever asked: the sentence for each status."""

from __future__ import annotations

from framepace.errors import BackendError, ModelError
from framepace.openinference.client.address import ServedModel

_LONGEST = 400  # letters of a server's message


def refusal(model: ServedModel, status: int, message: str) -> BackendError:
    """The error for an inference that a server refused, by its status of HTTP and its message."""
    got = f"{status}: {shortened(message)}"
    if status == 503:
        fix = "send fewer requests per second, or give the server more instances"
        return BackendError(f"the server refused a request of {model.name!r}: it has no room now", got=got, fix=fix)
    if status in (401, 403):
        fix = "set the environment variable FRAMEPACE_SERVER_TOKEN to its token"
        return BackendError("the server wants to know who asks", got=got, fix=fix)
    if status == 413:
        return BackendError(
            "the request is larger than the server allows", got=got, fix="--set batch=1, or raise it there"
        )
    if status in (400, 404):
        fix = "the model may have been replaced: start again, so that its inputs are read again"
        return BackendError(f"the server does not take a request of {model.name!r}", got=got, fix=fix)
    return BackendError(f"the server failed in {model.name!r}", got=got, fix="look at the server's log")


def no_model(model: ServedModel, message: str, names: tuple[str, ...]) -> ModelError:
    """The error for a model that the server does not have, or not ready."""
    expected = f"one of {', '.join(names)}" if names else "a model that is ready"
    fix = f"name another, or load it: POST {model.server}/v2/repository/models/{model.name}/load"
    if model.name in names:
        fix = "name another version, or none"
    got = shortened(message) or str(model)
    return ModelError(f"the server has no model {model.name!r} that is ready", got=got, expected=expected, fix=fix)


def shortened(message: str) -> str:
    """The message on one line, without what is too long to read."""
    line = " ".join(message.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
