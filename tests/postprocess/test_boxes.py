"""Boxes: overlaps and suppression."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from framepace.postprocess.boxes import are_probabilities, iou, nms, sigmoid, softmax, sum_to_one, surest
from framepace.postprocess.turned import around, corners_of, likeness, turned_nms

SEEDS = st.integers(0, 2**32 - 1)


def boxes_of(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Boxes on a coarse grid, so that many are equal, touch, or have no area."""
    corners = rng.integers(0, 12, (count, 4)).astype(np.float32)
    return np.concatenate(
        [np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], axis=1
    )


def overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Intersection over union of two boxes, by hand."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0) * max(height, 0)
    union = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - common
    return float(common / union) if union > 0 else 0.0


def greedy(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], labels: NDArray[np.int64], threshold: float
) -> list[int]:
    """Suppression as it is defined: the surest stays, and every other that overlaps none that stays by more."""
    kept: list[int] = []
    for place in sorted(range(len(scores)), key=lambda one: (-scores[one], one)):
        rivals = [one for one in kept if labels[one] == labels[place]]
        if all(np.float32(overlap(boxes[one], boxes[place])) <= threshold for one in rivals):
            kept.append(place)
    return kept


@settings(deadline=None)
@given(seed=SEEDS, count=st.integers(0, 40), threshold=st.sampled_from([0.0, 0.3, 0.45, 0.5, 0.7, 1.0]))
def test_suppression_is_the_greedy_one(seed: int, count: int, threshold: float) -> None:
    """With equal scores, equal boxes, empty boxes, with and without classes; never more than the limit."""
    rng = np.random.default_rng(seed)
    boxes = boxes_of(rng, count)
    scores = (rng.integers(0, 6, count) / 8).astype(np.float32)
    labels = rng.integers(0, 3, count)
    assert nms(boxes, scores, threshold, labels).tolist() == greedy(boxes, scores, labels, threshold)
    assert nms(boxes, scores, threshold).tolist() == greedy(boxes, scores, np.zeros_like(labels), threshold)
    assert nms(boxes, scores, threshold, limit=3).tolist() == nms(boxes, scores, threshold).tolist()[:3]


@settings(deadline=None)
@given(seed=SEEDS)
def test_suppression_is_torchvisions(seed: int) -> None:
    """nms and batched_nms of torchvision keep the same boxes in the same order."""
    torchvision = pytest.importorskip("torchvision", exc_type=ImportError)
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    boxes = (boxes_of(rng, 60) + rng.random((60, 4), dtype=np.float32) / 100).astype(np.float32)
    scores = rng.random(60, dtype=np.float32)
    labels = rng.integers(0, 3, 60)
    tensors = [torch.from_numpy(array) for array in (boxes, scores, labels)]
    assert nms(boxes, scores, 0.4).tolist() == torchvision.ops.nms(*tensors[:2], 0.4).tolist()
    assert nms(boxes, scores, 0.4, labels).tolist() == torchvision.ops.batched_nms(*tensors, 0.4).tolist()


@settings(deadline=None)
@given(seed=SEEDS)
def test_overlap_is_symmetric_and_one_for_itself(seed: int) -> None:
    """And as worked out by hand for each pair."""
    boxes = boxes_of(np.random.default_rng(seed), 12)
    overlaps = iou(boxes, boxes)
    assert (overlaps == overlaps.T).all()
    assert ((overlaps >= 0) & (overlaps <= 1)).all()
    expected = [[overlap(one, other) for other in boxes] for one in boxes]
    np.testing.assert_allclose(overlaps, expected, atol=1e-6)


def test_scores_are_told_apart_from_logits() -> None:
    """What lies between 0 and 1, what adds up to 1, and what is made so."""
    logits = np.array([[2.0, -3.0, 0.5], [800.0, 0.0, -800.0]])
    assert not are_probabilities(logits)
    assert are_probabilities(sigmoid(logits))
    assert sum_to_one(softmax(logits))
    assert not sum_to_one(sigmoid(logits))
    assert not are_probabilities(np.array([np.nan]))
    assert surest(np.array([0.1, 0.9, 0.5, 0.9], np.float32), 0.3, 3).tolist() == [1, 3, 2]


@settings(deadline=None)
@given(angle=st.floats(-np.pi, np.pi), width=st.floats(1, 50), height=st.floats(1, 50), x=st.floats(0, 300))
def test_a_turned_box_lies_within_the_upright_one_around_it(
    angle: float, width: float, height: float, x: float
) -> None:
    """Its corners are as far from its middle as half its diagonal, and reach all four sides."""
    box = np.array([[x, 40, width, height, angle]], np.float32)
    corners = corners_of(box)[0, :, :2]
    np.testing.assert_allclose(np.hypot(*(corners - box[0, :2]).T), np.hypot(width, height) / 2, rtol=1e-3)
    bounds = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    np.testing.assert_allclose(around(box)[0], bounds, atol=1e-2)


def test_turned_boxes_are_alike_by_place_and_direction() -> None:
    """A box is like itself and like itself turned by half a turn; across it, or far away, it is not."""
    box = np.array([[50, 50, 40, 8, 0.3]], np.float32)
    others = box + np.array([[0, 0, 0, 0, np.pi], [0, 0, 0, 0, np.pi / 2], [100, 0, 0, 0, 0]], np.float32)
    half_turn, across, away = likeness(box, others)[0]
    assert half_turn > 0.99
    assert across < 0.3
    assert away < 0.01
    table = np.concatenate([box, others])
    labels = np.zeros(4, np.int64)
    assert turned_nms(table, np.array([0.9, 0.8, 0.7, 0.6], np.float32), 0.5, labels, 10).tolist() == [0, 2, 3]
    assert turned_nms(table, np.array([0.9, 0.8, 0.7, 0.6], np.float32), 0.5, np.arange(4), 10).tolist() == [0, 1, 2, 3]
