"""A run in words: the sentence, the worst first, and a terminal that never overflows."""

from __future__ import annotations

import io

import pytest
from msgspec.structs import replace
from rich.cells import cell_len
from rich.console import Console

from framepace.facts.running import RunStatus
from framepace.reporting.terminal.running import LiveRun, drawn_run
from framepace.reporting.views.running import COLUMNS, fitting, run_line, run_view, states_sentence, trouble_of
from tests.doubles.cameras import SECRET, ScriptedRun, with_note


def drawn(status: RunStatus, width: int = 80, height: int = 24) -> list[str]:
    """The lines of a terminal of this size."""
    out = Console(width=width, height=height, file=io.StringIO(), color_system=None)
    with out.capture() as capture:
        out.print(drawn_run(status, width, height))
    return capture.get().splitlines()


def test_the_sentence_counts_the_states() -> None:
    """All, some, one or none of the sources are live."""
    run = ScriptedRun(3)
    assert states_sentence(run.status().sources) == "all 3 sources are live"
    assert states_sentence(run.step(3).sources) == "2 of 3 sources are live, 1 lost"
    assert states_sentence(ScriptedRun(1).status().sources) == "the source is live"
    lost = replace(ScriptedRun(1).status().sources[0], state="lost")
    assert states_sentence((lost,)) == "0 of 1 source is live, 1 lost"
    assert states_sentence(()) == "no source"
    ended = replace(run.status().sources[0], state="ended")
    assert states_sentence((ended, ended)) == "both sources have ended"


def test_totals_are_sums_over_the_sources() -> None:
    """Rates and drops are added by cause; p99 is the highest, with its source."""
    totals = dict(run_view(ScriptedRun(3).status()).totals)
    assert totals["in"] == "90.0 fps"
    assert totals["out"] == "88.0 fps"
    assert totals["highest p99"] == "62.0 ms (lobby)"
    assert totals["dropped"] == "2 of 90 (2 buffer full)"


def test_without_a_target_nothing_is_said_of_late() -> None:
    """No result can be later than a target that is not there: not in the totals, per source, or of the rest."""
    status = ScriptedRun(30).step(2)
    with_target, without = (replace(status, target_ms=target) for target in (200.0, None))
    assert "late" in dict(run_view(with_target).totals)
    assert " late" in fitting(with_target, 5).rest
    assert "late" not in dict(run_view(without).totals)
    assert " late" not in fitting(without, 5).rest
    assert {row.texts[COLUMNS.index("late")] for row in run_view(without).sources} == {"-"}


def test_trouble_is_what_happens_now() -> None:
    """No pictures are bad; late or too few results are a warning; a file that ended is neither."""
    source = ScriptedRun(1).status().sources[0]
    changes = ({"state": "lost"}, {"state": "stale"}, {"state": "connecting"}, {"p99_ms": 201.0}, {"fps_out": 20.0})
    assert [trouble_of(replace(source, **change), 200.0) for change in changes] == [
        "bad",
        "bad",
        "warn",
        "warn",
        "warn",
    ]
    assert trouble_of(replace(source, state="ended", fps_out=0.0), 200.0) == ""
    assert trouble_of(source, 200.0) == ""
    assert trouble_of(replace(source, every=3, fps_out=10.0), 200.0) == ""


def test_a_source_that_is_paused_says_so() -> None:
    """One of ten thousand pictures is taken of it, which is no number to show."""
    status = ScriptedRun(1).status()
    details = []
    for every in (1, 4, 10_000):
        source = replace(status.sources[0], every=every)
        details.append(run_view(replace(status, sources=(source,))).sources[0].detail)
    assert details == ["", "one of 4 pictures is inferred", "paused"]


def test_what_a_device_does_not_tell_is_a_dash() -> None:
    """Not a gap, in which a reader looks for a number."""
    assert run_view(ScriptedRun(1).status()).devices[1].texts == ("host", "61%", "-", "-", "-", "-")


def test_sources_that_fit_keep_their_order() -> None:
    """Nothing jumps about while there is room for all."""
    fits = fitting(ScriptedRun(3).step(2), lines=8)
    assert [row.name for row in fits.sources] == ["gate", "yard", "lobby"]
    assert fits.rest == ""


def test_of_many_sources_the_worst_come_first_and_the_rest_is_summed_up() -> None:
    """The lost one, then the one that drops; together with the rest they are all 64."""
    fits = fitting(ScriptedRun(64).step(2), lines=10)
    assert [row.name for row in fits.sources[:2]] == ["yard", "lobby"]
    left_out = 64 - len(fits.sources)
    assert fits.rest.startswith(f"and {left_out} more: {left_out} live, in {left_out * 30:,}, ")


@pytest.mark.parametrize("cameras", [1, 3, 64])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 40), (200, 60)])
def test_the_live_view_fits_the_terminal(cameras: int, width: int, height: int) -> None:
    """No line is too long and there are no more lines than the terminal has, whatever state the run is in."""
    run = ScriptedRun(cameras)
    for _ in range(7):
        lines = drawn(with_note(run.step(), "a note " * 30), width, height)
        assert len(lines) <= height
        assert max(map(len, lines)) <= width


def test_a_live_view_says_why_and_what_is_done_about_it() -> None:
    """A lost source has its reason, drops their cause, a failing sink its note, overload its measure."""
    text = "\n".join(drawn(ScriptedRun(3).step(3)))
    for part in ("connection refused", "8 buffer full", "results.jsonl: the disk is full", "degraded: every second"):
        assert part in text


def test_names_from_outside_do_not_move_the_columns() -> None:
    """Wide letters, long names and control characters: the states stand below their head."""
    status = ScriptedRun(3).status()
    names = ("カメラ" * 20, "x" * 200, "red\x1b[31m\nalert")
    sources = [replace(source, name=name) for source, name in zip(status.sources, names, strict=True)]
    view = drawn(replace(status, sources=tuple(sources)))
    assert "\x1b" not in "".join(view)
    assert any("~" in line for line in view)
    rows = [line for line in view if " live " in line and "fps" not in line]
    state = next(line for line in view if line.startswith("source")).index("state")
    assert [cell_len(row[: row.index(" live ") + 1]) for row in rows] == [state] * 3


def test_nothing_that_is_shown_has_a_secret() -> None:
    """Passwords in addresses and in notes are hidden in the view, the live view and the line."""
    status = ScriptedRun(3).step(2)
    note = f"rtsp://admin:{SECRET}@10.0.0.2/stream does not answer"
    status = replace(status, sources=tuple(replace(source, note=note) for source in status.sources), notes=(note,))
    texts = [repr(run_view(status)), run_line(status), "\n".join(drawn(status, 200)), repr(fitting(status, 3))]
    assert SECRET in note
    assert not [text for text in texts if SECRET in text]


def test_a_live_view_redraws_in_place_and_vanishes() -> None:
    """At the end the cursor is back where it began."""
    file = io.StringIO()
    run = ScriptedRun(3)
    with LiveRun(Console(file=file, force_terminal=True, width=80, height=24)) as live:
        live(run.status())
        live(run.step(2))
    assert "all 3 sources are live" in file.getvalue()
    last = file.getvalue().rpartition("detector, classifier")[2]
    assert "2 of 3 sources are live, 1 lost" in last
    assert last.count("\x1b[1A") == last.count("\n")
