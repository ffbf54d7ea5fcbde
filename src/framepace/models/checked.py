"""Which low precisions were held against FP32 on frames, on this machine: a plan that runs one without says so once.

Kept in the cache by what decides the answers: the file, the precision with what stays in FP32, the library, its options
and device, and what INT8 was calibrated on. Another model, or another calibration, was not checked.
"""

from __future__ import annotations

import msgspec

from framepace.errors import FramepaceError
from framepace.facts.plan import ModelPlan
from framepace.facts.questions import mend_question, question
from framepace.models.convert.calibration import calibration_key
from framepace.models.spec import inspect
from framepace.store import cache

_NAMED = 3  # videos


class _Check(msgspec.Struct):
    """The last check: on which videos, and whether the gate held."""

    passed: bool
    videos: tuple[str, ...]


def note_check(model: ModelPlan, videos: tuple[str, ...], passed: bool) -> None:
    """Keep that a model in low precision was held against FP32 on frames of `videos`."""
    if model.precision != "fp32" and videos:
        cache.put(_name(model), msgspec.json.encode(_Check(passed, videos[:_NAMED])))


def precision_note(model: ModelPlan) -> str:
    """That a model's low precision was never checked on frames here, or failed; '' in FP32, or where it passed."""
    if model.precision == "fp32":
        return ""
    check = _check(model)
    if check is None:
        asked = question(model, ("VIDEO",), None)
        return f"nobody has held its answers in {model.precision} against FP32 here, on your frames: {asked}"
    if check.passed:
        return ""
    videos = ", ".join(check.videos)
    command = mend_question(model, check.videos)
    return f"its answers in {model.precision} are not those of FP32 on {videos}" + f": {command}" * bool(command)


def _check(model: ModelPlan) -> _Check | None:
    """What is known; a damaged file is none."""
    try:
        return msgspec.json.decode((cache.folder() / _name(model)).read_bytes(), type=_Check)
    except (OSError, FramepaceError, msgspec.DecodeError):
        return None


def _name(model: ModelPlan) -> str:
    """The name in the cache."""
    spec = inspect(model.model)
    way = (model.precision, sorted(model.fp32_nodes), model.backend, model.device or "cpu", model.options)
    key = cache.key(spec.sha256, *way, calibration_key(model), model.calibration_method)
    return f"checks/{key}.json"
