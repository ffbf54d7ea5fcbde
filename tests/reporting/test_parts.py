"""The table of what a program's stages consist of."""

from __future__ import annotations

from framepace.facts.plan import Target
from framepace.facts.program import Part, Program
from framepace.reporting.views.parts import parts_rows


def test_a_long_place_leaves_room_for_the_numbers_in_80_columns() -> None:
    """The folders go first, then the end; what is short stays as it is."""
    names = (
        "app.py:3 f",
        "transformers/image_processing_backends.py:326 normalize",
        f"{'package/' * 4}{'a' * 60}.py:1 f",
    )
    parts = tuple(Part(stage="prepare", name=name, ns=1e6) for name in names)
    program = Program(command=("app.py",), folder="", target=Target(), parts=parts)
    short = [name for _, name, _, _ in parts_rows(program)]
    assert short == ["app.py:3 f", "image_processing_backends.py:326 normalize", "a" * 45 + "…"]
