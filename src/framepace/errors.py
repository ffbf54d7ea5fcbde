"""The errors a user can cause or meet; each says what, got, expected, and what to do."""

from __future__ import annotations

from collections.abc import Iterable

from framepace.redaction import redacted

ADVICE = "  what to do: "
"""How the line of an error begins that says what to do."""


class FramepaceError(Exception):
    """Base of every error framepace raises on purpose. Secrets in addresses are hidden in all its parts.

    Args:
        what: one sentence saying what went wrong.
        got: the actual value, path or version.
        expected: what would have been right; for an unknown name, the known names.
        fix: the next step for the user.
    """

    exit_code = 2

    def __init__(self, what: str, *, got: object = None, expected: object = None, fix: str | None = None) -> None:
        self.what = redacted(what)
        self.got = _without_secrets(got)
        self.expected = _without_secrets(expected)
        self.fix = None if fix is None else redacted(fix)
        parts = [("  got: ", self.got), ("  expected: ", self.expected), (ADVICE, self.fix)]
        lines = [f"{name}{value}" for name, value in parts if value is not None]
        super().__init__("\n".join([self.what, *lines]))


def _without_secrets(value: object) -> object:
    """The value itself, or its text where that had to be changed."""
    text = str(value)
    shown = redacted(text)
    if shown == text:
        return value
    return shown


class UsageError(FramepaceError):
    """A command, option or setting that cannot mean anything."""


class PlanError(FramepaceError):
    """A plan file that is malformed or contradicts itself."""


class HookNeverWorked(PlanError):
    """A hook that failed before it succeeded once: this ends the run instead of failing a frame."""


class ModelError(FramepaceError):
    """A model file that cannot be read, or whose inputs are not fully described."""


class BatchesFail(ModelError):
    """A model that runs single frames, but not the batches that its file promises."""


class BackendError(FramepaceError):
    """A backend that cannot load or run a model."""


class DeviceMemoryError(BackendError):
    """Too little memory on the device; the model's share of it is freed again."""


class ServerBusy(BackendError):
    """A server that has no room for a request now, and may have later."""


class DeviceLost(BackendError):
    """The device no longer answers (fallen off the bus, reset, a sticky error): no later request can succeed."""


class SourceError(FramepaceError):
    """A video or stream that cannot be opened or read."""


class SinkError(FramepaceError):
    """A sink that cannot be opened or does not take a result: another attempt would end the same way."""


class SinkUnavailable(SinkError):
    """A sink that does not take results now, and may later: a server that is gone, a full disk."""


class ClusterError(FramepaceError):
    """A cluster that cannot be reached, or that does not have what was asked of it."""


class PlaceLost(ClusterError):
    """An actor that died, with its process or its host: what it was doing may be done elsewhere."""


class HostLost(PlaceLost):
    """A host that has left its cluster: nothing starts there again."""


class StoreError(FramepaceError):
    """A trace, plan or report that cannot be read or written."""


class NotEnoughSamples(FramepaceError):
    """A statistic that refuses to answer because the samples are too few."""


class InferencesFailed(FramepaceError):
    """A run in which so many inferences failed that its latencies say nothing about the model."""

    exit_code = 1


class NothingSucceeded(InferencesFailed):
    """A run of which every inference failed, or a table of which every cell did."""


def unknown(kind: str, name: object, names: Iterable[object]) -> UsageError:
    """The error for a name that is none of `names`, with the nearest of them as the hint."""
    import difflib

    names = sorted(str(candidate) for candidate in names)
    similar = difflib.get_close_matches(str(name), names, n=1)
    fix = f"use one of the known {kind}s"
    if similar:
        fix = f"did you mean {similar[0]!r}?"
    return UsageError(f"unknown {kind} {str(name)!r}", got=name, expected="one of " + ", ".join(names), fix=fix)


def one_line(error: BaseException) -> str:
    """What went wrong, in one line; an error without a message is its type."""
    text = str(error) or repr(error)
    if isinstance(error, FramepaceError):
        text = error.what
        if error.got is not None:
            text = f"{error.what}: {error.got}"
    return " ".join(text.split())
