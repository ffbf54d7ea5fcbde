"""How far the answers of the chosen settings are from those of the plain way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from framepace.facts.accuracy import Agreement, agreement_text
from framepace.facts.base import Fact


class HeldAnswers(Fact, frozen=True, kw_only=True):
    """The answers of a model, run as a plan says, held against the plain way on the same frames.

    The plain way is FP32 on the host, one frame at a time, prepared and decoded there: by ONNX Runtime where the file
    is ONNX, else by the model's own library. `settings` are those of the plan that are not its, as words. `unsteady`
    counts the frames that were answered otherwise when the chosen way ran again. `why` says why nothing was compared;
    then `agreement` is None.
    """

    model: str
    settings: dict[str, str]
    agreement: Agreement | None = None
    unsteady: int = 0
    why: str = ""

    @property
    def differ(self) -> bool:
        """Whether the answers were compared and are not those of the plain way."""
        return self.agreement is not None and not self.agreement.passed

    @property
    def text(self) -> str:
        """A sentence on it."""
        return f"{self.model}: with {settings_words(self.settings)} {self.verdict}"

    @property
    def verdict(self) -> str:
        """What was found, without the settings."""
        return "; ".join(self._parts())

    def _parts(self) -> Iterator[str]:
        if self.agreement is None:
            yield f"nobody has held its answers against the plain way: {self.why}"
        elif self.differ:
            yield f"its answers are not those of the plain way: {', '.join(self.agreement.why)}"
            yield from _worst_frame(self.agreement)
        else:
            yield f"its answers are those of the plain way: {agreement_text(self.agreement)}"
        if self.unsteady:
            yield f"two runs of it answered {self.unsteady:,} frames differently, as a race or unordered sums would"


def _worst_frame(agreement: Agreement) -> Iterator[str]:
    """Where the answers are off most, counted from 0 in the frames that were compared."""
    lost = [frame for output in agreement.outputs for frame in output.lost_frames]
    errors = [(output.worst_l2, output.worst_frame) for output in agreement.outputs if output.worst_l2 is not None]
    if lost:
        yield f"lost first on frame {min(lost)}"
    elif errors:
        error, frame = max(errors)
        yield f"worst on frame {frame} (relative L2 error {error:.2g})"


def settings_words(settings: Mapping[str, str]) -> str:
    """'precision=fp16 graph=on'."""
    return " ".join(f"{name}={text}" for name, text in settings.items())
