"""What a tuning keeps in its folder."""

from __future__ import annotations

from pathlib import Path

from framepace.facts.tuning import Figures, Goal, Trial
from framepace.tuning.journal import TUNING, TuningJournal

TRIAL = Trial(level=1, figures=Figures(frames=300), met=True)


def test_equal_settings_are_one_candidate() -> None:
    """The number of a candidate is that of its settings, in whatever order they are named."""
    journal = TuningJournal(Goal(), "key", "machine", None)
    assert journal.number_of({}) == 0
    assert journal.number_of({"batch": 4, "workers": 2}) == 1
    assert journal.number_of({"workers": 2, "batch": 4}) == 1


def test_measurements_are_found_again_under_the_same_key_only(tmp_path: Path) -> None:
    """Another key, or a damaged file, starts from nothing."""
    journal = TuningJournal(Goal(), "key", "machine", tmp_path)
    journal.change(journal.number_of({"batch": 4}), measured=(TRIAL,))
    (tmp_path / "primitives.json").write_text('{"cores": 1, "scope": "model", "costs": [], "machine": "machine"}')
    assert TuningJournal(Goal(), "key", "machine", tmp_path).candidates == journal.candidates
    assert TuningJournal(Goal(), "other", "machine", tmp_path).candidates == []
    (tmp_path / TUNING).write_text("{")
    assert TuningJournal(Goal(), "key", "machine", tmp_path).candidates == []
