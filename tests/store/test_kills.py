"""Kills at random moments: what was reported as written is there, and the next run goes on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from framepace.errors import StoreError
from framepace.facts.device import SIMULATED
from framepace.store import OutputFolder, TraceWriter, load_trace
from framepace.sweeping import cells, sweep
from framepace.testing import make_meta
from tests.store.killed import GRID, ROWS, Killer, case, killer, reported

TRACE_KILLS = 40
SWEEP_KILLS = 12
SEED = 14


@pytest.fixture(scope="module")
def killing() -> Iterator[Killer]:
    """Processes to kill, all forked from one that has imported everything."""
    with killer() as made:
        yield made


def rows_of(folder: Path) -> list[int]:
    """The numbers of the rows in a trace; none where there is none yet."""
    try:
        trace = load_trace(folder)
    except StoreError:
        return []
    assert all(np.array_equal(column, trace.requests["frame"]) for column in trace.requests.values())
    frames: list[int] = trace.requests["frame"].tolist()
    return frames


def test_a_trace_has_every_row_that_was_reported_before_the_kill(killing: Killer, tmp_path: Path) -> None:
    """40 kills while traces are begun, written and closed: closed ones are whole, the last one has what was appended.

    No folder stays locked, and no row is torn, missing or twice.
    """
    rng = random.Random(SEED)
    ended = 0
    for number in range(TRACE_KILLS):
        folder = tmp_path / str(number)
        acknowledged = killing.kill("trace", folder, rng.uniform(0.0, 0.12))
        whole, begun = divmod(acknowledged, ROWS)
        ended += whole
        for index in range(whole):
            assert rows_of(folder / str(index)) == list(range(ROWS))
            # The last one may have been killed while it was closed.
            if index < whole - 1:
                assert load_trace(folder / str(index)).meta.stopped == "finished"
        last = rows_of(folder / str(whole))
        assert last == list(range(len(last)))
        assert begun <= len(last) <= begun + 1
        with OutputFolder(folder / str(whole), "trace", overwrite=True):
            pass
    assert ended > TRACE_KILLS / 4, "the kills came too early to say anything"


def test_a_killed_run_is_written_over_when_told_to(killing: Killer, tmp_path: Path) -> None:
    """What a kill left is in nobody's way: with `overwrite` a new trace is whole and has its own rows alone."""
    folder = tmp_path / "t"
    killing.kill("trace", folder, 0.05)
    writer = TraceWriter(folder / "0", make_meta(stopped="running"), overwrite=True)
    assert len(writer.close(make_meta())) == 0
    assert sorted(path.name for path in (folder / "0").iterdir()) == [
        "meta.json",
        "requests.parquet",
        "telemetry.parquet",
    ]


def test_a_killed_sweep_goes_on(killing: Killer, tmp_path: Path) -> None:
    """12 kills of one sweep, each going on where the last one ended: finished cells are never measured again."""
    rng = random.Random(SEED)
    folder = tmp_path / "s"
    finished: dict[Path, int] = {}
    for _ in range(SWEEP_KILLS):
        killing.kill("sweep", folder, rng.uniform(0.0, 0.25))
        for path, written in finished.items():
            assert path.stat().st_mtime_ns == written
        finished = {
            path: path.stat().st_mtime_ns
            for path in folder.glob("cell-*/meta.json")
            if load_trace(path.parent).meta.whole
        }
        if reported(folder).endswith(b"over\n"):
            break
    result = sweep(case(), GRID, folder=folder)
    assert [cell.settings for cell in result.cells] == list(cells(GRID))
    assert [cell.error for cell in result.cells] == [None] * 6
    assert result.notes == (SIMULATED,)
    for path, written in finished.items():
        assert path.stat().st_mtime_ns == written
    assert not list(folder.rglob("*.part"))
