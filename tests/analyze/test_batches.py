"""Times per image over batches: the knee, what batching can bring, and the sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepace.analyze.batches import batch_scaling, batch_sentence, padding_sentence, uneven_batches

BATCHES = (1, 2, 4, 8, 32)


@given(st.floats(0, 1e8), st.floats(1e3, 1e8))
def test_the_share_that_each_image_adds_is_found(fixed: float, added: float) -> None:
    """Times of fixed + n * added: exactly added / (fixed + added)."""
    scaling = batch_scaling({n: (fixed + n * added) / n for n in BATCHES})
    assert scaling is not None
    assert scaling.added_share == pytest.approx(added / (fixed + added), abs=1e-6)
    assert scaling.gain == pytest.approx((fixed + added) / (fixed / 32 + added))


def test_one_batch_says_nothing() -> None:
    """There is nothing to compare it with."""
    assert batch_scaling({4: 1e6}) is None


def test_a_batch_that_pays_is_told_with_its_knee() -> None:
    """Ten milliseconds whatever the batch."""
    scaling = batch_scaling({n: 1e7 / n for n in BATCHES})
    assert scaling is not None
    assert batch_sentence(scaling).endswith("a batch of 32 brings 32.00x; larger ones may bring more")


def test_kernels_that_scale_alone_blame_what_is_beside_them() -> None:
    """A device that is not full is not said to be."""
    scaling = batch_scaling(dict.fromkeys(BATCHES, 1e6))
    assert scaling is not None
    kernels = {n: 4e5 / n for n in BATCHES}
    assert batch_sentence(scaling, 0.13, kernels).startswith("the kernels alone would bring 32.00x: copies or the host")
    assert batch_sentence(scaling, 0.13).startswith(
        "100% of the time of one image is work that every further image adds"
    )
    assert batch_sentence(scaling, 0.97, dict.fromkeys(BATCHES, 9e5)).startswith("one image fills 97% of the device")


def test_a_batch_that_takes_longer_than_a_larger_one_is_better_padded() -> None:
    """33 frames against 40, the smallest larger one that is faster; a difference of 1 % is none."""
    per_image = {8: 100.0, 31: 60.0, 32: 58.0, 33: 90.0, 40: 50.0, 48: 45.0}
    assert uneven_batches(per_image) == {33: 40}
    assert "33 frames take 2.97 us, 40 only 2.00 us (batch-sizes=40" in padding_sentence(per_image)
    assert padding_sentence({1: 10.0, 2: 4.96}) == ""


def test_a_mean_that_a_few_slow_frames_raised_is_no_advice_to_pad() -> None:
    """On a busy machine one image took 6.76 ms in the mean and 3.36 in the median, two 5.91 and 6.56."""
    means = {1: 6.76e6, 2: 2.96e6}
    assert padding_sentence(means, {1: 3.36e6, 2: 6.56e6}) == ""
    assert "padding pays" in padding_sentence(means, {1: 6.7e6, 2: 5.9e6})
