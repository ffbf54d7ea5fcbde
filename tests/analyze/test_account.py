"""The account: where a stream's latency goes, to the last microsecond."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from framepace.analyze.account import SLOWER, account
from framepace.facts.trace import Trace
from framepace.testing import make_trace

MS = 1_000_000


def scope(seed: int, infer: float, n: int = 400, models: tuple[str, ...] = ("model",), **stages: float) -> Trace:
    """A trace whose stages have these means (ms), 10 % noise and 1 % of inferences three times as long."""
    rng = np.random.default_rng(seed)

    def noisy(mean: float) -> Any:
        return mean * MS * rng.normal(1, 0.1, n)

    slow = np.where(rng.random(n) < 0.01, 3.0, 1.0)
    spent = {name.replace("_", "-"): noisy(mean) for name, mean in stages.items()}
    return make_trace(stages=spent | {"infer": noisy(infer / len(models)) * slow}, models=models)


@pytest.mark.parametrize("models", [("model",), ("a", "b")])
def test_account_adds_up_and_names_the_stages(models: tuple[str, ...]) -> None:
    """The lines are the stages that were put in, and with what is unexplained they add up; that is under 2 %."""
    stream = scope(2, 6.0, models=models, decode=2.9, wake_up=0.5, queue=0.3)
    found = account(scope(0, 5.1, models=models), scope(1, 5.2, models=models), stream)
    lines = {line.name: line.ns / MS for line in found.lines}
    assert lines == {k: pytest.approx(v, abs=0.15) for k, v in
                     {"decode": 2.9, "wake-up": 0.5, "queue": 0.3, SLOWER: 0.9}.items()}  # fmt: skip
    assert found.model + sum(line.ns for line in found.lines) + found.unexplained == pytest.approx(found.stream)
    assert abs(found.unexplained) < 0.02 * found.stream
    assert found.pipeline == pytest.approx(5.2 * MS, rel=0.03)


def test_intervals_hold_the_lines() -> None:
    """Each line lies in its interval, and the interval of the inference knows the noise of both scopes."""
    found = account(scope(0, 5.0), scope(1, 5.0), scope(2, 5.0, decode=2.0))
    for line in found.lines:
        assert line.interval is not None
        assert line.interval[0] <= line.ns <= line.interval[1]
    slower = next(line for line in found.lines if line.name == SLOWER)
    assert slower.interval is not None
    assert slower.interval[0] < 0 < slower.interval[1]


def test_outliers_do_not_make_the_account() -> None:
    """A few frames that waited a second for the decoder leave the lines as they were."""
    calm = account(scope(0, 5.0), scope(1, 5.0), scope(2, 5.0, decode=2.0))
    decode = np.where(np.arange(400) % 100 == 7, 1000 * MS, 2 * MS)
    wild = account(scope(0, 5.0), scope(1, 5.0), make_trace(stages={"decode": decode, "infer": 5 * MS}))
    assert wild.lines[0].ns == pytest.approx(calm.lines[0].ns, rel=0.05)


def test_nothing_measured_has_an_empty_account() -> None:
    """Traces without requests give zeros and no lines; a stream of one frame has values without intervals."""
    empty = make_trace([])
    assert account(empty, empty, empty).lines == ()
    one = make_trace(stages={"decode": [MS], "infer": [5 * MS]})
    assert [line.interval for line in account(one, one, one).lines] == [None, None]
