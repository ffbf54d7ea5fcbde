"""Classifiers: a row of scores per picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.facts.answers import Classes
from framepace.postprocess.boxes import are_probabilities, softmax, sum_to_one
from framepace.postprocess.fit import Fit, sure_if
from framepace.postprocess.network import View

_MOST = 5  # classes that are told
_WORDS = ("logit", "prob", "softmax", "sigmoid", "class", "score", "label", "pred")
_IMAGENET = (1000, 1001, 21_841, 21_843)


def is_classes(view: View) -> bool:
    """Whether there is one row of numbers."""
    return _row(view) is not None


def fit_classes(view: View) -> Fit:
    """One row of numbers: scores where they are named, add up to 1, or are as many as the classes of ImageNet."""
    row = _row(view)
    if row is None:
        return Fit.NO
    if view.task == "classify" or len(view.names) == len(row) or sum_to_one(row):
        return Fit.SURE
    called = any(word in name.lower() for name in view.arrays for word in _WORDS)
    return sure_if(called or len(row) in _IMAGENET)


def read_classes(view: View, least: float) -> Classes:
    """The five likeliest classes, or fewer where the others are not above `least`; the likeliest is always told.

    Logits become probabilities by softmax; what lies between 0 and 1 is taken as it is.
    """
    row = _row(view)
    assert row is not None
    scores = row.astype(np.float32) if are_probabilities(row) else softmax(row)
    order = np.argsort(-np.nan_to_num(scores), kind="stable")[:_MOST]
    count = max(1, int(np.count_nonzero(scores[order] > least)))
    return Classes(order[:count].astype(np.int64), scores[order[:count]], view.names)


def _row(view: View) -> NDArray[Any] | None:
    """The one output; axes of length 1 beside its classes are left out."""
    if len(view.arrays) != 1:
        return None
    array = next(iter(view.arrays.values()))
    row = array.reshape(-1)
    fits = array.dtype.kind in "fV" and 2 <= len(row) == max(array.shape)
    return row if fits else None
