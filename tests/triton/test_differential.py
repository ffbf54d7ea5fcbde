"""The same requests to the real Triton and to framepace's server: the same statuses, tensors and documents."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

import pytest

from tests.triton.asked import requests
from tests.triton.askedgrpc import AskingGrpc, calls
from tests.triton.compared import Answer, Asking
from tests.triton.differences import DIFFERENCES, ENDED, GRPC_DIFFERENCES, Asked, Difference, known
from tests.triton.pairs import Pair, pair
from tests.triton.server import Triton

_ENDS_WITHIN_S = 1.0


class _Asks(Protocol):
    """A way to ask a server."""

    def ask(self, sent: Any, /) -> Answer:
        """Its answer."""


def _of_triton(server: Triton, asking: _Asks, sent: Asked) -> Answer:
    """Its answer; it is started again where that request ended it."""
    answer = asking.ask(sent)
    deadline = time.monotonic() + _ENDS_WITHIN_S
    while not answer.status and answer.content is None and not server.ended and time.monotonic() < deadline:
        time.sleep(0.02)  # an operating system says late that a process has ended
    if server.ended:
        server.start()
        return replace(answer, message=ENDED)
    return answer


def compared(
    asked: Sequence[Asked], server: Triton, triton: _Asks, framepace: _Asks, differences: Sequence[Difference]
) -> tuple[Counter[Difference], list[str]]:
    """How often each known difference was seen, and those that nobody knows, as lines."""
    seen: Counter[Difference] = Counter()
    unknown: list[str] = []
    for sent in asked:
        theirs = _of_triton(server, triton, sent)
        ours = framepace.ask(sent)
        if repr(theirs.content) == repr(ours.content) and theirs.status == ours.status:  # by repr, as NaN is not NaN
            continue
        difference = known(differences, sent, theirs, ours)
        if difference is None:
            unknown.append(f"{sent.words}: Triton {theirs}, framepace {ours}")
        else:
            seen[difference] += 1
    return seen, unknown


def check(seen: Counter[Difference], unknown: Sequence[str], differences: Sequence[Difference]) -> None:
    """What differs is known, and what is known differs; prints the table."""
    assert not unknown, "\n".join(unknown)
    assert set(seen) == set(differences)
    print(*(f"| {row.name} | {row.why} | {seen[row]} |" for row in differences), sep="\n")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both servers with the same models."""
    with pair(tmp_path_factory.mktemp("pair")) as running:
        yield running


@pytest.mark.long
def test_framepace_answers_by_http_as_triton_does(servers: Pair) -> None:
    """Over 700 requests, most of them invalid: what differs is in the table of known differences."""
    asked = requests()
    assert len(asked) > 700
    http = (Asking(servers.triton.url), Asking(servers.http))
    check(*compared(asked, servers.triton, *http, DIFFERENCES), DIFFERENCES)


@pytest.mark.long
def test_framepace_answers_by_grpc_as_triton_does(servers: Pair) -> None:
    """Over 100 calls, most of them invalid: what differs is in the table of known differences."""
    asked = calls()
    assert len(asked) > 100
    grpc = (AskingGrpc(servers.triton.grpc_url), AskingGrpc(servers.grpc))
    check(*compared(asked, servers.triton, *grpc, GRPC_DIFFERENCES), GRPC_DIFFERENCES)
