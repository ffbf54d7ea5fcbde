"""The figure of a tuning: what candidates carry against their p99 against their power."""

from __future__ import annotations

from msgspec.structs import replace

from framepace.facts.tuning import Candidate, Goal, Trial, Tuning
from framepace.reporting.page.pareto import pareto_caption, pareto_figure
from framepace.reporting.views.tuning import tuning_view
from tests.tuning.test_search import trial


def test_the_figure_tells_measured_from_predicted() -> None:
    """Measured dots are filled, predicted ones hollow, and the best has a colour of its own."""
    figure = pareto_figure(tuning_view(_drawn()))
    assert figure is not None
    symbols = {trace["name"]: trace["marker"]["symbol"] for trace in figure["data"] if "marker" in trace}
    assert symbols == {"measured": "circle", "predicted": "circle-open", "best": "circle"}


def test_the_figure_shows_cameras_against_p99_against_power() -> None:
    """Dots are as high as the cameras that came through, and the larger the more power was measured, where it was."""
    view = tuning_view(_drawn(powers=(200.0, 400.0)))
    figure = pareto_figure(view)
    assert figure is not None
    dots = {trace["name"]: (trace["y"], trace["marker"]["size"]) for trace in figure["data"] if "marker" in trace}
    assert figure["layout"]["yaxis"]["title"]["text"] == "cameras"
    assert [dots[name][0] for name in ("measured", "best", "predicted")] == [[3.0], [5.0], [6.0]]
    (less,), (more,), (unknown,) = (dots[name][1] for name in ("measured", "best", "predicted"))
    assert unknown < less < more
    assert "power" in pareto_caption(view)
    assert "CPU time" in pareto_caption(tuning_view(_drawn()))


def _drawn(powers: tuple[float | None, float | None] = (None, None)) -> Tuning:
    def run(level: int, power: float | None = None) -> Trial:
        made = trial(level, True)
        return replace(made, figures=replace(made.figures, power=power))

    made = (
        Candidate(settings={}, measured=(run(3, powers[0]),)),
        Candidate(settings={"batch": 4}, measured=(run(5, powers[1]),)),
        Candidate(settings={"batch": 8}, predicted=(run(6),)),
    )
    return Tuning(goal=Goal(), candidates=made, best=1, met=True)
