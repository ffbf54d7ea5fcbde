"""The token that calls must bring."""

from __future__ import annotations

import pytest

from framepace.cli.serve import TOKEN, command
from framepace.errors import UsageError
from framepace.serving.tokens import brings_token


@pytest.mark.parametrize("sent", [b"Bearer s3cret", b"bearer s3cret", b"BEARER  s3cret ", b" Bearer s3cret\t"])
def test_the_token_is_taken_however_its_scheme_is_written(sent: bytes) -> None:
    """In any case, and with any blanks around it."""
    assert brings_token(sent, "s3cret")


@pytest.mark.parametrize(
    "sent",
    [b"", b"s3cret", b"Bearer", b"Bearer ", b"Bearer S3CRET", b"Bearer s3cre", b"Bearer s3crett", b"Basic s3cret",
     b"Bearers3cret", b"Bearer \xff\xfe", b"Bearer s3cret x"],
)  # fmt: skip
def test_anything_else_is_refused(sent: bytes) -> None:
    """Whatever is near it."""
    assert not brings_token(sent, "s3cret")


@pytest.mark.parametrize("token", ["", "  ", "\n"])
def test_a_token_that_is_set_and_empty_is_told(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """Nobody is let in without one because a file of it was empty."""
    monkeypatch.setenv(TOKEN, token)
    with pytest.raises(UsageError, match="is set, and has no token"):
        command(["null"])
