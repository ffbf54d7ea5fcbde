"""The page of a ranking: how long its bars are, and what is drawn where no output is finite."""

from __future__ import annotations

import json
import re
from typing import Any

from framepace.facts.mending import Block, NetworkNode, NodeError, Ranking
from framepace.facts.plan import ModelPlan
from framepace.reporting.page.ranking import render_ranking

MODEL = ModelPlan(name="net", model="net.onnx", precision="fp16")


def ranking(errors: dict[str, float | None], cumulative: list[float | None]) -> Ranking:
    """Nodes with the error of each (None: not finite), in as many blocks as errors up to each are given."""
    nodes = [
        NodeError(node=NetworkNode(name=name, operator="Mul"), block=0, error=error, finite=error is not None)
        for name, error in errors.items()
    ]
    blocks = [Block(first="a", last="b", nodes=1, error=None, cumulative=value) for value in cumulative]
    return Ranking(model=MODEL, frames=2, limit=0.03, error=None, blocks=tuple(blocks), nodes=tuple(nodes))


def figures(page: str) -> list[dict[str, Any]]:
    """The figures of a page."""
    data = re.search(r'id="figures">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    found: list[dict[str, Any]] = json.loads(data[1])
    return found


def test_an_error_is_a_shorter_bar_than_an_answer_that_is_lost() -> None:
    """Only a value that is not finite fills its bar; where all are finite the largest error does."""
    page = render_ranking(ranking({"square": None, "conv": 0.0004}, [None, 0.1]))
    full, error = figures(page)[0]["data"][0]["x"]
    assert error < full == 1.0
    assert figures(render_ranking(ranking({"a": 0.1, "b": 0.05}, [0.1])))[0]["data"][0]["x"] == [1.0, 0.5]


def test_no_axes_are_drawn_without_a_finite_error() -> None:
    """A sentence says so; the blocks of a figure are whole numbers, and its errors begin at zero."""
    lost = render_ranking(ranking({"square": None}, [None, None]))
    assert len(figures(lost)) == 1
    assert "No output is finite with the first block" in lost
    layout = figures(render_ranking(ranking({"square": None}, [None, 0.1])))[1]["layout"]
    assert (layout["xaxis"]["tickformat"], layout["yaxis"]["rangemode"]) == ("d", "tozero")


def test_the_command_that_goes_on_is_code() -> None:
    """So that it can be copied, and is no warning."""
    page = render_ranking(ranking({"square": None}, [None]))
    assert "<pre>framepace accuracy net.onnx --precision fp16 --mend net-fp16-mixed.onnx</pre>" in page
