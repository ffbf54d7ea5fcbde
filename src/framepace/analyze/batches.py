"""How the time of an inference grows with its batch: time per image, the knee, and what batching can bring. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from framepace.facts.sweep import BatchScaling
from framepace.units import format_ms

_CLEARLY = 0.02  # of a batch's time: less may be chance
_NEAR = 0.05  # of the best time per image: from there on a larger batch brings little
_FULL = 0.5  # SM activity below it explains nothing
_LITTLE = 1.5  # times the images per second, below which batches do not scale


def batch_scaling(per_image: Mapping[int, float]) -> BatchScaling | None:
    """Knee, gain and fixed part of times per image (ns) by batch; None of fewer than two batches.

    The time of a batch of n is taken as fixed + n * added (least squares, relative): all that batching can save is the
    fixed part.
    """
    batches = sorted(per_image)
    if len(batches) < 2:
        return None
    best = min(per_image.values())
    knee = next(batch for batch in batches if per_image[batch] <= best * (1 + _NEAR))
    return BatchScaling(
        smallest=batches[0],
        largest=batches[-1],
        per_image=dict(per_image),
        knee=knee,
        gain=per_image[batches[0]] / per_image[batches[-1]],
        added_share=_added_share(per_image),
    )


def uneven_batches(per_image: Mapping[int, float]) -> dict[int, int]:
    """The batches (times per image in ns, by batch) that take longer than a larger one, and that one's size.

    Of several larger ones the smallest counts. Padding such a batch to that size is faster than running it as it is.
    """
    whole = {batch: batch * time for batch, time in sorted(per_image.items())}
    better: dict[int, int] = {}
    for batch, time in whole.items():
        larger = next((size for size in whole if size > batch and whole[size] <= time * (1 - _CLEARLY)), None)
        if larger is not None:
            better[batch] = larger
    return better


def padding_sentence(per_image: Mapping[int, float], medians: Mapping[int, float] | None = None) -> str:
    """Which batches are better padded, and to what; '' where none is.

    `medians` of inferences (ns, by batch) have to say the same: a few slow frames raise a mean on a busy machine.
    """
    typical = medians or {}
    pays = {
        batch: size
        for batch, size in uneven_batches(per_image).items()
        if typical.get(size, 0.0) <= typical.get(batch, math.inf)
    }
    if not pays:
        return ""
    times = (
        f"{batch} frames take {format_ms(batch * per_image[batch])}, {size} only {format_ms(size * per_image[size])}"
        for batch, size in pays.items()
    )
    sizes = "+".join(map(str, sorted(set(pays.values()))))
    return f"padding pays: {'; '.join(times)} (batch-sizes={sizes} pads to them)"


def _added_share(per_image: Mapping[int, float]) -> float:
    """The share of the time of one image that every further image of a batch adds."""
    batches = np.array(list(per_image), dtype=np.float64)
    times = batches * np.array(list(per_image.values()))
    terms = np.stack([np.ones(len(batches)), batches], axis=1) / times[:, None]
    fixed, added = np.linalg.lstsq(terms, np.ones(len(batches)), rcond=None)[0]
    return float(min(1.0, max(0.0, added / (fixed + added))))


def batch_sentence(
    scaling: BatchScaling, sm_activity: float | None = None, kernels: Mapping[int, float] | None = None
) -> str:
    """What the times say: how much of the device one image takes, what a batch brings, and where that ends.

    Args:
        sm_activity: share of the SMs that the smallest batch kept busy, where the device reports it.
        kernels: times of the kernels alone per image (ns) by batch, where the device reports them.
    """
    first = scaling.per_image[scaling.smallest]
    last = scaling.per_image[scaling.largest]
    times = f"{format_ms(first)} per image at batch {scaling.smallest}, {format_ms(last, first)} at {scaling.largest}"
    gain = f"a batch of {scaling.largest} brings {scaling.gain:.2f}x"
    knee = f"from batch {scaling.knee} on a larger one brings under 5 %"
    if scaling.knee == scaling.largest:
        knee = "larger ones may bring more"
    if scaling.gain >= _LITTLE:
        return f"{times}: {gain}; {knee}"
    return f"{_reason(scaling, sm_activity, kernels or {})}; {gain} ({times}); {knee}"


def _reason(scaling: BatchScaling, sm_activity: float | None, kernels: Mapping[int, float]) -> str:
    """Why a batch brings little: by the kernels alone, by the device's counters, else by what each image adds."""
    if {scaling.smallest, scaling.largest} <= kernels.keys():
        alone = kernels[scaling.smallest] / kernels[scaling.largest]
        if alone >= _LITTLE * scaling.gain:
            return f"the kernels alone would bring {alone:.2f}x: copies or the host are the limit, not the device"
    image = "one image"
    if scaling.smallest > 1:
        image = f"a batch of {scaling.smallest}"
    if sm_activity is not None and sm_activity >= _FULL:
        return f"{image} fills {sm_activity:.0%} of the device"
    return f"{scaling.added_share:.0%} of the time of one image is work that every further image adds"
