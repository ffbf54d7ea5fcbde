"""The terminal: the same words at 80 columns, without colour, and where only ASCII can be printed."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.console import Console

from framepace.facts.check import Check
from framepace.facts.plan import Batching, EnginePlan, ModelPlan, Plan, Target
from framepace.reporting.terminal.accuracy import show_accuracy
from framepace.reporting.terminal.calibrating import show_calibrations
from framepace.reporting.terminal.capacity import show_capacity
from framepace.reporting.terminal.comparison import show_comparison
from framepace.reporting.terminal.doctor import show_checks
from framepace.reporting.terminal.explanation import show_explanation
from framepace.reporting.terminal.layout import bar, console, show_paths
from framepace.reporting.terminal.measurement import show_summary
from framepace.reporting.terminal.mending import show_hunt, show_mended, show_ranking
from framepace.reporting.terminal.plan import show_plan
from framepace.reporting.terminal.progress import Progress
from framepace.reporting.terminal.sweep import show_sweep
from framepace.reporting.views.plan import plan_view
from tests.reporting import samples

CHECKS = [
    Check(name="governor", state="warn", found="powersave", why="clocks fall", fix="cpupower -g performance"),
    Check(name="python", state="ok", found="3.11.9", why="not shown when all is well"),
]
PATHS = {"report": "/a/very/long/path/" + "x" * 90 + "/report.html", "plan": "out/plan.yaml"}
PLAN = Plan(
    models=(ModelPlan(name="net", model="net.onnx", batch=Batching(max=4), shapes={"x": (1, 3, 64, 64)}),),
    engine=EnginePlan(wait="spin"),
    target=Target(fps=30),
    machine="0123456789ab",
)
SHOWN: dict[str, Callable[[Console], None]] = {
    "summary": lambda out: show_summary(out, samples.summary(("detector", "classifier"))),
    "explanation": lambda out: show_explanation(out, samples.explanation(), samples.MACHINE),
    "comparison": lambda out: show_comparison(out, samples.comparison()),
    "sweep": lambda out: show_sweep(out, samples.sweep()),
    "accuracy": lambda out: show_accuracy(out, samples.accuracy()),
    "calibrations": lambda out: show_calibrations(out, samples.calibrations()),
    "hunt": lambda out: show_hunt(out, samples.hunt()),
    "ranking": lambda out: show_ranking(out, samples.ranking()),
    "mended": lambda out: show_mended(out, samples.mended()),
    "capacity": lambda out: show_capacity(out, samples.capacity()),
    "plan": lambda out: show_plan(out, plan_view(PLAN, samples.MACHINE)),
    "checks": lambda out: show_checks(out, CHECKS),
}


def printed(show: Callable[[Console], None], encoding: str = "utf-8") -> str:
    """What `show` writes to a pipe."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    show(console(file))
    file.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("name", SHOWN)
def test_a_pipe_gets_80_columns_and_no_escape_codes(name: str) -> None:
    """Every line fits 80 columns and holds no control sequence."""
    text = printed(SHOWN[name])
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "\x1b" not in text
    assert text.strip()


@pytest.mark.parametrize("name", SHOWN)
def test_an_ascii_terminal_gets_ascii(name: str) -> None:
    """Where only ASCII can be written, bars and arrows are ASCII, and nothing fails."""
    assert printed(SHOWN[name], "ascii").strip()


def test_an_explanation_is_told_in_its_order() -> None:
    """Machine, verdict, the answer, account, causes worst first with setting and gain, the undecided, the untested, the
    paths.
    """
    text = printed(lambda out: show_explanation(out, samples.explanation(), samples.MACHINE, PATHS))
    order = ["Example Xeon", "budget 33.3 ms at 30 fps", "FP013 idle threads spin: ", "model alone", "in the stream"]
    order += [
        "FP013 idle threads spin  high",
        "41.2 ms → 6.06 ms",
        "spinning=off  ",
        "saves 34.8 ms",
        "FP002",
        "undecided: FP003",
        "ruled out: FP014",
        "not tested: FP012",
    ]
    order += ["report", "plan"]
    place = 0
    for part in order:
        found = text.find(part, place)
        assert found >= place, part
        place = found


def test_the_first_ten_lines_name_the_causes_and_what_their_trials_showed() -> None:
    """Before and after with the setting that did it, and what the remedy saved in the whole stream."""
    text = printed(lambda out: show_explanation(out, samples.explanation(), samples.MACHINE, PATHS))
    head = " ".join(" ".join(text.splitlines()[:10]).split())
    assert "FP013 idle threads spin: 41.2 ms, 6.06 ms with spinning=off; saves 34.8 ms of latency per frame" in head
    assert "FP002 the host sleeps between frames and wakes slowly: 9.80 ms, 6.10 ms with wait=spin" in head


def test_paths_are_never_wrapped() -> None:
    """A path longer than the line stays in one piece, so that it can be copied."""
    text = printed(lambda out: show_paths(out, PATHS))
    assert f"report  {PATHS['report']}\n" in text


def test_no_cause_is_said_in_words() -> None:
    """A healthy configuration says that nothing was found rather than showing an empty list."""
    assert "no cause found" in printed(lambda out: show_explanation(out, samples.explanation(healthy=True)))


def test_names_from_outside_are_printed_as_they_are() -> None:
    """Square brackets and colons in names are no markup and no emoji."""
    hostile = replace(samples.finding(), title="[red]x[/red] :smile: [link=http://x]y")
    explained = replace(samples.explanation(), findings=(hostile,))
    assert hostile.title in printed(lambda out: show_explanation(out, explained))


def test_several_models_take_one_line_each() -> None:
    """The whole frames are told in full, the models in a table."""
    text = printed(SHOWN["summary"])
    assert text.count("decode  ") == 1
    assert sum(line.startswith("classifier") for line in text.splitlines()) >= 1


def test_a_failed_cell_shows_its_error() -> None:
    """A cell that could not be measured says so in its row, and why below the table."""
    text = printed(SHOWN["sweep"])
    assert "failed" in text
    assert "batch=4 wait=spin  the model has a fixed batch of 2" in text
    interrupted = replace(samples.sweep(), interrupted=True)
    assert "interrupted" in printed(lambda out: show_sweep(out, interrupted))


def test_a_check_that_is_well_stays_short() -> None:
    """Why and the command appear only for what is set wrong."""
    text = printed(SHOWN["checks"])
    assert "fix: cpupower -g performance" in text
    assert "not shown" not in text


@given(st.floats(0, 1), st.floats(0, 1), st.integers(4, 60), st.booleans())
def test_bars_fit_and_show_what_is_there(a: float, b: float, width: int, ascii_only: bool) -> None:
    """A bar never exceeds its width, shows at least a sliver of anything above zero, and starts where it should."""
    start, end = sorted((a, b))
    drawn = bar(start, end, 1.0, width, ascii_only)
    assert len(drawn) <= width + 1
    assert bool(drawn.strip()) or end - start < 1e-9
    assert len(drawn) - len(drawn.lstrip()) <= round(start * width)
    whole = bar(0, end, 1.0, width, ascii_only)
    assert len(whole) <= len(bar(0, 1.0, 1.0, width, ascii_only))


def test_progress_is_silent_in_a_pipe() -> None:
    """Nothing is written when standard error is not a terminal."""
    raw = io.StringIO()
    with Progress(Console(file=raw)) as tell:
        tell("FP013 idle threads spin? trying spinning=off", 0.4)
    assert raw.getvalue() == ""


def test_progress_says_what_is_tried() -> None:
    """On a terminal the line shows the text as it is, brackets included."""
    raw = io.StringIO()
    with Progress(Console(file=raw, force_terminal=True, width=80, markup=False)) as tell:
        tell("trying [batch]=2, because {it} scales", 0.4)
    assert "trying [batch]=2, because {it} scales" in raw.getvalue()


def test_a_mended_model_says_what_each_island_costs() -> None:
    """The time of each way, and the difference that leaving one island out makes."""
    text = printed(lambda out: show_mended(out, samples.mended()))
    assert "per frame, measured in turn: fp32 2 ms, mixed 1.2 ms" in text
    assert "+0.1 ms for what stays in FP32 around square and 1 more" in text
