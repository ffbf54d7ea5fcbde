"""Padding: what a fixed batch computes for nobody."""

from __future__ import annotations

import pytest

from framepace.analyze.padding import padding
from framepace.analyze.summary import summarize
from framepace.testing import make_trace

MS = 1_000_000


def test_padding_is_counted_by_inference() -> None:
    """A full batch of 4 and a batch of 2 and 1 of 4: of twelve items seven were frames."""
    trace = make_trace([MS] * 7, columns={"batch_size": [4] * 4 + [2] * 2 + [1]}, batch_sizes={"model": (4,)})
    assert padding(trace)["model"] == pytest.approx(5 / 12)
    summary = summarize(trace)
    assert summary.padding == padding(trace)
    assert any("42% of the work was padding" in note for note in summary.notes)


def test_a_batch_is_padded_to_the_next_size() -> None:
    """With sizes 2, 4 and 8, batches of 3, 5 and 2 are run as 4, 8 and 2: of fourteen items ten were frames."""
    sizes = [3] * 3 + [5] * 5 + [2] * 2
    trace = make_trace([MS] * 10, columns={"batch_size": sizes}, batch_sizes={"model": (2, 4, 8)})
    assert padding(trace)["model"] == pytest.approx(4 / 14)


def test_models_that_run_smaller_batches_pad_nothing() -> None:
    """Without a fixed batch there is no padding, nor a word of it."""
    summary = summarize(make_trace([MS] * 3))
    assert summary.padding == {}
    assert not any("padding" in note for note in summary.notes)


def test_models_that_pad_alike_share_a_sentence() -> None:
    """Two models with the same sizes and the same share of padding are named in one note."""
    sizes = {"a": (4,), "b": (4,)}
    trace = make_trace([MS] * 6, models=("a", "b"), columns={"batch_size": 3}, batch_sizes=sizes)
    told = [note for note in summarize(trace).notes if "padding" in note]
    assert told == ["a, b: 25% of the work was padding: batches of 4 are run, often partly filled"]
