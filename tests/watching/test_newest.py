"""Pictures are kept only while somebody looks at them."""

from __future__ import annotations

from framepace.watching.newest import NewestPictures
from tests.doubles.cameras import result


class Watch:
    """A clock that is set by hand."""

    time = 0.0

    def __call__(self) -> float:
        """The time in seconds."""
        return self.time


def test_nothing_is_kept_that_nobody_asked_for() -> None:
    """The first question finds nothing; from then on there is the newest."""
    pictures = NewestPictures(Watch())
    pictures.take(result("gate", 1))
    assert pictures.newest("gate") is None
    for number in (2, 3):
        pictures.take(result("gate", number))
        pictures.take(result("yard", number))
    newest = pictures.newest("gate")
    assert newest is not None
    assert newest.number == 3
    assert pictures.newest("yard") is None


def test_a_picture_is_let_go_when_nobody_looks_any_more() -> None:
    """Another one's question ten seconds later clears it."""
    watch = Watch()
    pictures = NewestPictures(watch)
    pictures.newest("gate")
    pictures.take(result("gate"))
    watch.time = 11.0
    pictures.newest("yard")
    assert pictures.newest("gate") is None
