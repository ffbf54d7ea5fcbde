"""Names from metadata and files."""

from __future__ import annotations

from pathlib import Path

import pytest

from framepace.errors import UsageError
from framepace.postprocess.names import literal, names_in_file, names_of


@pytest.mark.parametrize(
    ("metadata", "names"),
    [
        ({"names": "{0: 'person', 1: \"dog's\", 3: 'car'}"}, ("person", "dog's", "", "car")),
        ({"names": "['a', 'b']"}, ("a", "b")),
        ({"classes": '["a", "b"]'}, ("a", "b")),
        ({"character": "a\nb\n \u2028\n"}, ("a", "b", " \u2028")),
        ({"names": "broken", "labels": "('x',)"}, ("x",)),
        ({}, ()),
        ({"names": "__import__('os').getcwd()"}, ()),
        ({"names": "{0: 'a', 'b': 1}"}, ()),
        ({"names": "{-1: 'a'}"}, ()),
        ({"names": "{999999999: 'a'}"}, ()),
        ({"names": "(" * 100_000}, ()),
        ({"names": "{}"}, ()),
        ({"names": "7"}, ()),
        ({"names": "'a'\0"}, ()),
    ],
)
def test_names_are_read_as_literals_and_nothing_is_run(metadata: dict[str, str], names: tuple[str, ...]) -> None:
    """Dicts, lists, lines; anything else is no names."""
    assert names_of(metadata) == names


def test_a_literal_is_a_value_or_nothing() -> None:
    """[17, 3] is; a call, a name or half a list is not."""
    assert literal("[17, 3]") == [17, 3]
    assert [literal(text) for text in ("", "f(1)", "a", "[1", "1" * 10_000)] == [None] * 5


def test_names_in_a_file_are_its_lines(tmp_path: Path) -> None:
    """Empty lines count, the last line end does not; a file that cannot be is a sentence."""
    path = tmp_path / "names.txt"
    path.write_bytes("\ufeffcat\r\n\r\nKäfer\r\n".encode())
    assert names_in_file(str(path)) == ("cat", "", "Käfer")
    path.write_bytes(b"\xff\xfe")
    for wrong in (path, tmp_path, tmp_path / "none", Path("/dev/zero")):
        with pytest.raises(UsageError, match="file of names"):
            names_in_file(str(wrong))
