"""Triton's text format: what is written is read again, and what people write is understood."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepace.errors import UsageError
from framepace.exporting.pbtxt import Symbol, dumps, listed, loads

_NAMES = st.from_regex(r"[a-z][a-z_]{0,10}", fullmatch=True)
_SCALARS = (
    st.text(alphabet=st.characters(blacklist_categories=["Cs"]), max_size=20)
    | st.integers(-(1 << 63), 1 << 63)
    | st.booleans()
    | st.builds(Symbol, st.from_regex(r"TYPE_[A-Z]{1,5}", fullmatch=True))
)
_MESSAGES = st.recursive(
    st.dictionaries(_NAMES, _SCALARS, max_size=4),
    lambda inner: st.dictionaries(_NAMES, _SCALARS | inner | st.lists(inner, min_size=2, max_size=3), max_size=4),
    max_leaves=10,
)


@given(_MESSAGES)
def test_what_is_written_is_read_again(message: dict[str, Any]) -> None:
    """Texts, numbers, truth values, names and messages in messages."""
    assert loads(dumps(message)) == message


def test_what_people_write_is_understood() -> None:
    """Comments, lists, commas, semicolons, angle brackets, single quotes, texts in parts, fields that repeat."""
    text = """
    # a model
    name: 'det' "ector"; max_batch_size: 0x08,
    input [ { name: "x" dims: [ 3, -1 ] }, { name: "y" dims: 4 dims: 5 } ]
    input < name: "z" >
    dynamic_batching { preferred_batch_size: [4, 8] } optimization: { graph: { level: -1 } }
    ratio: 1.5e-3f  on: true
    """
    message = loads(text)
    assert message["name"] == "detector"
    assert message["max_batch_size"] == 8
    assert [part["name"] for part in listed(message, "input")] == ["x", "y", "z"]
    assert listed(message["input"][1], "dims") == [4, 5]
    assert message["optimization"]["graph"]["level"] == -1
    assert message["ratio"] == 1.5e-3
    assert message["on"] is True


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name", "its end"),
        ("name: ", "its end"),
        ('name: "x', "line 1"),
        ("a {\n b: 1\n", "its end"),
        ("a: 1 }", "the name of a field"),
        ("\n\na: @", "line 3"),
        ("a { " * 100, "in each other"),
        ("a: [" * 100, "a value"),
        ("a: " + "[" * 100_000, "in each other"),
    ],
)
def test_what_is_no_configuration_is_told_with_its_line(text: str, words: str) -> None:
    """A sentence, never a traceback, however deep it goes."""
    with pytest.raises(UsageError, match=words):
        loads(text)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing else happens."""
    with suppress(UsageError):
        loads(text)
