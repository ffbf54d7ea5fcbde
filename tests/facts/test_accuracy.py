"""How far outputs agree, in a few words."""

from __future__ import annotations

from framepace.facts.accuracy import Agreement, Gate, OutputAgreement, agreement_text


def test_values_that_are_not_finite_are_told_first() -> None:
    """Where all of them are, there is no number to tell; where there is nothing at all, that is said."""
    broken = OutputAgreement(name="y", compared=0, nonfinite=1500)
    half = OutputAgreement(name="z", compared=10, nonfinite=2, relative_l2=0.25, cosine=0.5)
    tiny = OutputAgreement(name="w", compared=10, relative_l2=1.1, cosine=0.1, max_abs=3e-5)
    for outputs, text in (
        ((tiny,), "no value is off by more than 3e-05 over 8 frames"),
        ((tiny, half), "2 values NaN or infinite, relative L2 error 0.25, cosine 0.500000 over 8 frames"),
        ((broken,), "1,500 values NaN or infinite over 8 frames"),
        ((half,), "2 values NaN or infinite, relative L2 error 0.25, cosine 0.500000 over 8 frames"),
        ((), "nothing to compare over 8 frames"),
    ):
        assert agreement_text(Agreement(frames=8, gate=Gate(), outputs=outputs)) == text
