"""`run --ray`: engines in processes of their own, on places of a cluster that is started for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from framepace import deploying
from framepace.errors import ClusterError, UsageError
from framepace.facts.running import SourceSpec
from framepace.fleet.run import FleetRun
from tests.fleet.engines import Collected, plan
from tests.running.videos import video

pytestmark = pytest.mark.xdist_group("ray")


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything else is done."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match="needs Ray") as raised:
        deploying.start(plan(), ["door=synthetic"], ray="local")
    assert raised.value.fix == "pip install 'framepace[ray]'"


def test_a_sink_that_needs_pictures_is_refused(tmp_path: Path) -> None:
    """Pictures stay where they are decoded; no cluster is started for that."""
    with pytest.raises(UsageError, match="a sink needs pictures"):
        deploying.start(plan(), ["door=synthetic"], sinks=[f"video:{tmp_path}/{{source}}.mp4"], ray="local")


@pytest.mark.long
def test_a_command_runs_on_two_engines_and_ends_in_order(tmp_path: Path) -> None:
    """Every picture of four files is a result in the sink, and the engines stand in the document."""
    pytest.importorskip("ray")
    path = video(tmp_path / "v.mp4", pictures=40)
    sources = [text for number in range(4) for text in ("--source", f"camera-{number}={path}")]
    command = [
        sys.executable, "-m", "framepace", "run", "builtin:classifier", "--backend", "null", *sources,
        "--as-fast-as-possible", "--ray", "local:2", "--sink", f"jsonl:{tmp_path}/results.jsonl", "--json",
    ]  # fmt: skip
    environment = {**os.environ, "FRAMEPACE_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    assert [engine["state"] for engine in status["engines"]] == ["ended", "ended"]
    assert {source["delivered"] for source in status["sources"]} == {40}
    results = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert len(results) == 4 * 40


@pytest.mark.long
def test_a_process_that_is_killed_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sources go on at once on the other engine, and a new process takes its place."""
    pytest.importorskip("ray")
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path / "cache"))
    kept = Collected()
    path = video(tmp_path / "v.mp4")
    sources = [SourceSpec(name=f"camera-{number}", address=path, loop=True) for number in range(4)]
    run = deploying.start(plan(), sources, sinks=[kept], ray="local:2", stays=True)
    assert isinstance(run, FleetRun)
    names = [source.name for source in sources]
    kept.wait_for(3, *names)
    run.kill(run.status().engines[0].name)
    kept.wait_for(3, *names)
    while run.status().engines[0].state != "live" or run.status().engines[0].starts < 2:
        kept.wait_for(1, names[0])
    run.stop()
    status = run.wait(60)
    for source in status.sources:
        numbers = kept.numbers[source.name]
        assert numbers == sorted(set(numbers))
        assert len(numbers) == source.delivered
        assert source.taken == source.delivered + source.skipped + source.failed + sum(source.dropped.values())
