"""What is known to differ between framepace's server and Triton 2.51, and why. Anything else is a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from tests.triton.compared import Answer


class Asked(Protocol):
    """A request, by HTTP or by gRPC."""

    @property
    def words(self) -> str:
        """By which a difference is told."""


@dataclass(frozen=True)
class Difference:
    """Requests that both servers answer otherwise: which, how, and why that is right."""

    name: str
    why: str
    holds: Callable[[Any, Answer, Answer], bool]


def _statuses(theirs: int, ours: int, *words: str) -> Callable[[Any, Answer, Answer], bool]:
    """Whether the statuses are these, and the request is told with one of these words."""

    def holds(sent: Asked, triton: Answer, framepace: Answer) -> bool:
        named = not words or any(word in sent.words for word in words)
        return (triton.status, framepace.status) == (theirs, ours) and named

    return holds


def _same_outputs_in_another_order(sent: Asked, triton: Answer, framepace: Answer) -> bool:
    answers = (triton.content, framepace.content)
    if triton.status != framepace.status or not all(isinstance(content, tuple) for content in answers):
        return False
    theirs, ours = (sorted(map(repr, content[3])) for content in answers)
    return theirs == ours and triton.content[:3] == framepace.content[:3]


def _health_in_the_body(sent: Asked, triton: Answer, framepace: Answer) -> bool:
    kinds = (triton.content, framepace.content)
    is_health = "/health/" in sent.words or "/ready" in sent.words
    return is_health and triton.status == framepace.status == 200 and kinds == ("NoneType", "dict")


_ERRORS = "who sends something else than the protocol says made a mistake (4xx), the server did not fail (5xx)"
_ORDER = Difference(
    "outputs come in the order of the model in Triton, in that of the request here",
    "who names outputs gets them as named; clients look them up by name",
    _same_outputs_in_another_order,
)
DIFFERENCES = (
    Difference(
        "a request that cannot be parsed: 500 in Triton, 400 here",
        _ERRORS,
        _statuses(500, 400),
    ),
    Difference(
        "health is told by the status alone in Triton, in the body too here",
        "the protocol's own description has a body, and KServe's client reads it",
        _health_in_the_body,
    ),
    _ORDER,
    Difference(
        "a request that ends Triton's process, 400 here",
        "a shape of 2^35 elements without bytes, and JSON 100,000 deep, are refused before memory or stack is used",
        lambda sent, triton, framepace: triton.message == ENDED and framepace.status == 400,
    ),
    Difference(
        "an output named twice: once in Triton's answer, 400 here",
        "an input named twice is refused by both",
        _statuses(200, 400, "output twice"),
    ),
    Difference(
        "numbers that their datatype cannot hold wrap around in Triton, 400 here",
        "a wrong answer without a word is worse than none",
        _statuses(200, 400, "out of range", "INT8 with", "UINT8 with"),
    ),
    Difference(
        "lists of different lengths are flattened in Triton, 400 here",
        "the data say a shape that is not the one named",
        _statuses(200, 400, "ragged", "half nested"),
    ),
    Difference(
        "NaN and Infinity as numbers, a BOM, a NUL at the end, a field twice: taken by Triton, 400 here",
        "none of them is JSON (RFC 8259), or it says two things; as bytes such numbers travel",
        _statuses(200, 400, "written as", "body: NUL", "body: BOM", "body: a field twice"),
    ),
    Difference(
        "a header length with letters behind the digits is read by Triton, 400 here",
        "the header's length decides what is JSON: a damaged one is not guessed",
        _statuses(200, 400, "header length"),
    ),
    Difference(
        "sequence parameters are checked by Triton, and mean nothing here",
        "sequences are not supported: a state travels with the requests of its source",
        _statuses(500, 200, "sequence_"),
    ),
    Difference(
        "an unknown region without a size: 404 in Triton, 400 here",
        "both are wrong; the size is looked at first",
        _statuses(404, 400, "a region without a size"),
    ),
    Difference(
        "a version is a number in Triton, a text here: '01', or one of twenty digits",
        "versions are looked up as they are written",
        lambda sent, triton, framepace: "versions/01" in sent.path or "versions/99999" in sent.path,
    ),
    Difference(
        "%70 in a path is a letter here, three characters in Triton",
        "paths are percent-decoded (RFC 3986)",
        _statuses(404, 200, "sim%70le"),
    ),
    Difference(
        "the generate extension is Triton's own",
        "it is for models of language",
        lambda sent, triton, framepace: sent.path.endswith("/generate"),
    ),
    Difference(
        "/v2/ is /v2 here",
        "a slash at the end of the root is taken",
        lambda sent, triton, framepace: sent.path == "/v2/",
    ),
    Difference(
        "readiness and statistics of a model that is not there: 400 in Triton, 404 here",
        "Triton's other answers on an unknown model are 404, too",
        _statuses(400, 404, "/ready", "/stats"),
    ),
    Difference(
        "POST to a path with a version that is no number: 404 in Triton, 405 here",
        "the path is known, the method is wrong",
        _statuses(404, 405, "versions/x"),
    ),
    Difference(
        "unloading an unknown model: 200 in Triton, 400 here",
        "nothing was unloaded",
        _statuses(200, 400, "nix/unload"),
    ),
    Difference(
        "trace settings of a model that is not there: 400 in Triton, 404 here",
        "Triton's other answers on an unknown model are 404, too",
        _statuses(400, 404, "nix/trace/setting"),
    ),
)

_OK = 0
_INVALID = 3
_NOT_FOUND = 5
_INTERNAL = 13
GRPC_DIFFERENCES = (
    _ORDER,
    Difference(
        "an output named twice: once in Triton's answer, INVALID_ARGUMENT here",
        "an input named twice is refused by both",
        _statuses(_OK, _INVALID, "('OUTPUT0', 'OUTPUT0')"),
    ),
    Difference(
        "more raw contents than inputs: the last are left out by Triton, INVALID_ARGUMENT here",
        "which of them belongs to which input is not guessed",
        _statuses(_OK, _INVALID, "raw contents: three"),
    ),
    Difference(
        "a version that is no number: INVALID_ARGUMENT in Triton, unknown here",
        "versions are looked up as they are written",
        lambda call, triton, framepace: triton.status == _INVALID and "version string" in triton.message,
    ),
    Difference(
        "a version below 0: INVALID_ARGUMENT in Triton, NOT_FOUND here",
        "versions are looked up as they are written",
        _statuses(_INVALID, _NOT_FOUND, "version '-1'"),
    ),
    Difference(
        "statistics of a model that is not there: INVALID_ARGUMENT in Triton, NOT_FOUND here",
        "Triton's other answers on an unknown model are NOT_FOUND, too",
        _statuses(_INVALID, _NOT_FOUND, "ModelStatistics"),
    ),
    Difference(
        "an unknown model to load, or a region that cannot be opened: INTERNAL in Triton, INVALID_ARGUMENT here",
        _ERRORS,
        _statuses(_INTERNAL, _INVALID, "load an unknown", "register"),
    ),
)
ENDED = "the process ended"


def known(differences: Iterable[Difference], sent: Asked, triton: Answer, framepace: Answer) -> Difference | None:
    """Why two answers differ; None where nobody knows."""
    return next((row for row in differences if row.holds(sent, triton, framepace)), None)
