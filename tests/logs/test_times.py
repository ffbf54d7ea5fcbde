"""Moments and durations of logs: whatever the unit or the way of writing, the same frames come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framepace.facts.trace import Outcome, Trace
from framepace.logs.delimited import read_delimited
from framepace.logs.roles import roles_of
from framepace.logs.times import Times, times_of
from framepace.logs.trace import load_log

MS = 1_000_000
UNITS = {"s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1.0}


def times(text: str) -> Times:
    """Moments and latencies of a log."""
    return times_of(roles_of(read_delimited("log.csv", text), ()))


def trace(folder: Path, text: str) -> Trace:
    """The trace that a log becomes."""
    (folder / "log.csv").write_text(text)
    return load_log(folder / "log.csv").trace


@settings(max_examples=30, deadline=None)
@given(
    latency_ms=st.floats(3, 150),
    load=st.floats(0.2, 0.95),
    unit=st.sampled_from(list(UNITS)),
    moments=st.sampled_from(list(UNITS)),
    sign=st.sampled_from([",", ";", "\t", "|"]),
)
def test_units_in_names_are_believed(latency_ms: float, load: float, unit: str, moments: str, sign: str) -> None:
    """Any unit of either, with any separator: latency and distance of the frames are those that were written."""
    step = latency_ms / load * 1e6
    lines = [f"{number * step / UNITS[moments]!r}{sign}{latency_ms * 1e6 / UNITS[unit]!r}" for number in range(30)]
    found = times("\n".join([f"time_{moments}{sign}latency_{unit}", *lines]))
    assert found.latency == pytest.approx(latency_ms * 1e6)
    assert np.diff(found.due) == pytest.approx(step, rel=1e-3)
    assert not found.notes


@settings(max_examples=30, deadline=None)
@given(latency_ms=st.floats(3, 150), load=st.floats(0.35, 0.95), unit=st.sampled_from(["s", "ms", "us"]))
def test_moments_with_a_unit_say_that_of_a_latency_without(latency_ms: float, load: float, unit: str) -> None:
    """Frames that do not overlap and fill a good part of the time leave one unit."""
    step = latency_ms / load * 1e6
    lines = [f"{number * step / 1e9!r},{latency_ms * 1e6 / UNITS[unit]!r}" for number in range(30)]
    found = times("\n".join(["time_s,latency", *lines]))
    assert found.latency == pytest.approx(latency_ms * 1e6)
    assert len(found.notes) == 1


@settings(max_examples=30, deadline=None)
@given(latency_ms=st.floats(3, 150), load=st.floats(0.35, 0.95), unit=st.sampled_from(["s", "ms", "us"]))
def test_a_latency_with_a_unit_says_that_of_moments_without(latency_ms: float, load: float, unit: str) -> None:
    """The other way round."""
    step = latency_ms / load * 1e6
    lines = [f"{number * step / UNITS[unit]!r},{latency_ms!r}" for number in range(30)]
    found = times("\n".join(["t,latency_ms", *lines]))
    assert np.diff(found.due) == pytest.approx(step, rel=1e-3)


def test_moments_at_the_end_of_frames_are_seen_to_be(tmp_path: Path) -> None:
    """Back to back, with a gap: each row was written when its frame was done, since otherwise frames would overlap."""
    latency = 10 + 5 * (np.arange(60) % 3)
    ends = np.cumsum(latency + 1)
    rows = (f"{end / 1e3},{value}" for end, value in zip(ends, latency, strict=True))
    found = trace(tmp_path, "\n".join(["time_s,latency_ms", *rows]))
    gaps = found.requests["due"][1:] - found.requests["delivered"][:-1]
    assert gaps == pytest.approx(MS)


def test_whole_seconds_are_spread(tmp_path: Path) -> None:
    """25 rows with the date of one second lie 40 ms apart."""
    rows = (f"2026-03-04 05:06:{number // 25:02},9" for number in range(250))
    found = trace(tmp_path, "\n".join(["date,latency_ms", *rows]))
    assert np.diff(found.requests["due"]) == pytest.approx(40 * MS)
    assert any("spread evenly" in note for note in found.meta.notes)


def test_a_time_of_day_goes_on_after_midnight(tmp_path: Path) -> None:
    """23:59:59 and then 00:00:00 is a second, not a day back."""
    stamps = ("23:59:58.000", "23:59:59.000", "00:00:00.000", "00:00:01.000")
    found = trace(tmp_path, "\n".join(["time,latency_ms", *(f"{stamp},9" for stamp in stamps)]))
    assert np.diff(found.requests["due"]) == pytest.approx(1000 * MS)


def test_rows_out_of_order_are_put_in_order(tmp_path: Path) -> None:
    """As several processes write them."""
    order = np.random.default_rng(0).permutation(100)
    found = trace(tmp_path, "\n".join(["time_s,latency_ms", *(f"{n / 25:.3f},{9 + n % 3}" for n in order)]))
    assert (np.diff(found.requests["due"]) > 0).all()
    assert found.latency[:4] / MS == pytest.approx([9, 10, 11, 9])


@pytest.mark.parametrize("back_s", [4.0, 3600.0])
def test_a_second_run_in_the_same_file_follows_the_first(back_s: float, tmp_path: Path) -> None:
    """Moments begin again, or the clock is set back by an hour: frames stay in their order, at their rate."""
    moments = [n / 25 - (back_s if n >= 100 else 0) + 3600 for n in range(200)]
    found = trace(
        tmp_path, "\n".join(["time_s,latency_ms", *(f"{s:.3f},{9 + (n >= 100)}" for n, s in enumerate(moments))])
    )
    assert np.diff(found.requests["due"]) == pytest.approx(40 * MS)
    assert (np.diff(found.latency) >= 0).all()
    assert "begins again in row 101" in " ".join(found.meta.notes)


def test_rows_of_two_cameras_one_after_the_other_are_of_the_same_time(tmp_path: Path) -> None:
    """The second camera's rows begin again, and did not follow."""
    rows = [f"{n / 25:.3f},9,{camera}" for camera in ("a", "b") for n in range(100)]
    found = trace(tmp_path, "\n".join(["time_s,latency_ms,camera", *rows]))
    assert int(found.requests["due"].max()) == pytest.approx(99 * 40 * MS)


@pytest.mark.parametrize(
    "stamps",
    [
        ("11/29/2026 11:59:59.500 PM", "11/29/2026 11:59:59.900 PM", "11/30/2026 12:00:00.300 AM"),
        ("29.11.2026 23:59:59,500", "29.11.2026 23:59:59,900", "30.11.2026 0:00:00,300"),
        ("29/11/2026 23:59:59.500", "29/11/2026 23:59:59.900", "30/11/2026 00:00:00.300"),
    ],
)
def test_dates_as_spreadsheets_write_them(stamps: tuple[str, ...], tmp_path: Path) -> None:
    """Month or day first, with AM and PM or without: 400 ms apart, over midnight."""
    found = trace(tmp_path, "\n".join(["timestamp;latency_ms", *(f"{stamp};9" for stamp in stamps)]))
    assert np.diff(found.requests["due"]) == pytest.approx(400 * MS)


def test_cameras_models_and_lost_frames_are_those_of_the_log(tmp_path: Path) -> None:
    """Two models on each frame of two cameras; a dropped frame and a failed one have no latency."""
    rows = []
    for number in range(40):
        for model, took in (("detector", 8), ("reader", 3)):
            state = {7: "timeout", 8: "ok"}.get(number, "ok")
            begin = number / 10 + (0.008 if model == "reader" else 0.0)
            rows.append(f"{begin:.4f},{took},door{number % 2},{number // 2},{model},{state},{int(number == 9)}")
    head = "time_s,latency_ms,camera,frame,model,error,dropped"
    found = trace(tmp_path, "\n".join([head, *rows]))
    assert found.meta.names == ("detector", "reader")
    assert found.meta.sources == ("door0", "door1")
    assert len(np.unique(found.requests["frame"])) == 40
    outcomes = found.requests["outcome"]
    assert (np.sum(outcomes == Outcome.FAILED), np.sum(outcomes == Outcome.DROPPED)) == (2, 2)
