"""A plan against servers: the same model, another one, none, and both sides in numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from framepace import accuracy, exchanging, make_case, verifying
from framepace.analyze import verified
from framepace.analyze.verified import Steps
from framepace.cli.app import app
from framepace.errors import BackendError, InferencesFailed, ModelError, UsageError
from framepace.explaining.trial import block
from framepace.facts.served import ServerCounts
from framepace.facts.summary import Estimate, Percentile
from framepace.facts.verified import Verification, VerifiedSide
from framepace.reporting.views.verified import verification_view
from framepace.serving.server import Server
from framepace.store import save_plan
from framepace.testing import make_trace
from tests.cli.test_cli import framepace
from tests.serving.servers import add_model, port, served

MS = 1_000_000
REQUEST = {"infer": 10 * MS, "queue": 1 * MS, "prepare": 2 * MS}
"""Stages of a request as its client sees them, ns."""


def url(server: Server) -> str:
    """Its address for HTTP."""
    return f"http://127.0.0.1:{port(server)}"


def counts(requests: int, **sums_ms: float) -> ServerCounts:
    """The statistics of a server; sums in ms."""
    sums: dict[str, Any] = {name: round(value * MS) for name, value in sums_ms.items()}
    return ServerCounts(requests=requests, executions=requests, items=requests, **sums)


def test_the_inference_of_a_server_is_divided_by_its_statistics() -> None:
    """Of 10 ms the model computes 6 and requests wait 1.5: the rest is transport, and all add up to the latency."""
    there = counts(100, total=800, queue=150, input=20, compute=600, output=30)
    side = verified.side([make_trace(stages=REQUEST, due=np.arange(100) * 33 * MS, served={"model": there})])
    stages = {name: ns / MS for name, ns in side.stages.items()}
    assert stages == pytest.approx(
        {"decode": 0, "waiting": 2.5, "prepare": 2, "transport": 2.5, "inference": 6, "finish": 0}
    )
    assert sum(stages.values()) == pytest.approx(13)


def test_the_steps_of_an_ensemble_say_where_its_time_goes() -> None:
    """Its own statistics leave out what requests wait between the steps; those of the steps do not."""
    whole = counts(100, total=900, queue=0, compute=700)
    steps = Steps(counts(100, queue=100, compute=150), counts(100, queue=50, compute=550))
    trace = make_trace(stages=REQUEST, due=np.arange(100) * 33 * MS, served={"model": whole})
    stages = verified.side([trace], {"model": steps}).stages
    assert {name: ns / MS for name, ns in stages.items()} == pytest.approx(
        {"decode": 0, "waiting": 2.5, "prepare": 3.5, "transport": 1.5, "inference": 5.5, "finish": 0}
    )


def test_ratios_are_over_interleaved_rounds() -> None:
    """A side that takes twice as long in each round has a ratio of 2, whatever the machine does meanwhile."""
    drift = [1, 3, 2, 1]
    here = [make_trace(np.full(200, 5 * MS * factor), fps=30) for factor in drift]
    there = [make_trace(np.full(200, 10 * MS * factor), fps=30) for factor in drift]
    found = verified.ratios(here, there)
    assert found["median"].value == pytest.approx(2)
    assert found["p99"].value == pytest.approx(2)
    assert found["throughput"].value == pytest.approx(1, rel=0.01)


def test_statistics_of_rounds_are_added_up() -> None:
    """Counts are sums, batches too, and the parts are means."""
    one = replace(counts(10, total=100, compute=50), batches={"1": 10})
    other = replace(counts(30, total=600, compute=450), executions=10, batches={"1": 2, "4": 7})
    rounds = [make_trace(stages=REQUEST, due=np.arange(20) * 33 * MS, served={"model": said}) for said in (one, other)]
    [row] = verified.served_over(rounds)
    assert (row.requests, row.executions, row.batch) == (40, 20, 2)
    assert row.batches == {"1": 12, "4": 7}
    assert row.parts["compute"] / MS == pytest.approx(10)


def side(p99_ms: float, stages: dict[str, float] | None = None) -> VerifiedSide:
    """A side with a p99."""
    p50 = Percentile(q=50, estimate=None, refused="p50 needs 20 independent requests, these 9 are worth 9")
    p99 = Percentile(q=99, estimate=Estimate(value=p99_ms * MS))
    return VerifiedSide(throughput=30, p50=p50, p99=p99, stages=stages or {})


def test_a_prediction_that_missed_is_said_to_have_missed() -> None:
    """By more than 15 %; one that is unknown is called so, and not compared."""
    stages = dict.fromkeys(("decode", "waiting", "prepare", "transport", "inference", "finish"), 1.0 * MS)
    found = verified.ratios([make_trace(np.full(9, MS))], [make_trace(np.full(9, MS))])
    result = Verification(server="s", rounds=1, here=side(9, stages), there=side(10, stages), ratios=found)
    missed = verification_view(replace(result, predicted=side(12)))
    met = verification_view(replace(result, predicted=side(11)))
    assert any("the prediction of p99 is 1.20 of what was measured" in note for note in missed.notes)
    assert not any("prediction" in note for note in met.notes)
    assert any("unknown" in row for row in met.rows if row[0] == "p50")


def test_another_model_of_that_name_is_told_by_its_answers(tmp_path: Path) -> None:
    """The same inputs, other weights: nothing is measured, the exit code is 1, and the reason is said."""
    ours, theirs = (add_model(folder_in(tmp_path, name), "net", offset) for name, offset in (("a", 0.0), ("b", 1.0)))
    with served(theirs) as server:
        result = exchanging.verify_export(ours, url(server))
        done = framepace("export", ours, "--verify", url(server), "--json")
    assert not result.passed
    assert result.here is None
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["schema"] == "framepace.verification/1"
    assert said["answers"]["net"]["why"]


def test_answers_of_a_server_are_asked_anew_each_time(tmp_path: Path) -> None:
    """Its metadata may be the same while its weights are not: nothing is taken from the cache."""
    ours, theirs = (add_model(folder_in(tmp_path, name), "net", offset) for name, offset in (("a", 0.0), ("b", 1.0)))
    with served(ours, port=0) as server:
        there = f"{url(server)}/v2/models/net"
        assert accuracy(ours, there, frames=2).agreement.passed
        number = port(server)
    with served(theirs, port=number):
        assert not accuracy(ours, there, frames=2).agreement.passed


def folder_in(place: Path, name: str) -> Path:
    """A new folder."""
    (place / name).mkdir()
    return place / name


def test_a_server_without_the_model_is_told(tmp_path: Path) -> None:
    """Its models are listed; a port where nobody listens is another sentence."""
    plan = load_plan_of(tmp_path)
    with served("builtin:detector") as server:
        with pytest.raises(ModelError, match="no model 'other'"):
            exchanging.verify_export(str(plan), url(server))
        free = url(server)
    with pytest.raises(BackendError, match="cannot be reached"):
        exchanging.verify_export("builtin:classifier", free)


def load_plan_of(folder: Path) -> Path:
    """A plan whose model has a name that no server has."""
    made = make_case("builtin:classifier").plan
    save_plan(replace(made, models=(replace(made.models[0], name="other"),)), folder / "plan.yaml")
    return folder / "plan.yaml"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "export has nowhere to go"),
        (["out", "--verify", "http://127.0.0.1:1"], "writes nothing"),
        (["--verify", "http://127.0.0.1:1", "--to", "onnx"], "writes nothing"),
        (["out", "--to", "docker", "--runtime", "python"], "a runtime is a backend of Triton"),
        (["out", "--to", "openvino"], "unknown target"),
    ],
)
def test_what_cannot_be_exported_or_verified_is_a_sentence(tmp_path: Path, words: list[str], says: str) -> None:
    """Exit code 2, and what to do."""
    done = framepace("export", "builtin:classifier", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert "what to do" in done.stderr


@pytest.mark.long
def test_framepace_beside_its_own_server() -> None:
    """The same answers, both sides measured, a prediction made before, and stages that add up to the mean latency."""
    with served("builtin:classifier") as server:
        result = exchanging.verify_export("builtin:classifier", url(server), rounds=2, seconds=1.0, fps=20)
    assert result.passed
    assert (result.rounds, result.stopped) == (2, "")
    assert result.here is not None
    assert result.there is not None
    assert result.predicted is not None
    assert result.here.stages["transport"] == 0 < result.there.stages["transport"]
    assert result.served[0].requests > 0


def test_a_server_that_refuses_requests_ends_the_rounds_and_not_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that lets late requests go, on a busy machine: what there is by then is told, with the reason."""

    def refused(*_: Any, **__: Any) -> None:
        raise InferencesFailed("7.55 % of the frames failed: no room", fix="fewer requests")

    monkeypatch.setattr(verifying, "measure_primitives", refused)
    monkeypatch.setattr(verifying, "block", refused)
    with served("builtin:classifier") as server:
        result = exchanging.verify_export("builtin:classifier", url(server), fps=20)
    assert result.passed
    assert result.rounds == 0
    assert "7.55 % of the frames failed" in result.stopped
    notes = verification_view(result).notes
    assert any(note.startswith("not predicted: 7.55 %") for note in notes)
    assert any(note.startswith("ended after 0 whole rounds: 7.55 %") for note in notes)


@pytest.mark.long
def test_a_server_that_goes_away_leaves_whole_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was measured until then is told, with the reason."""
    with served("builtin:classifier") as server:
        blocks = iter(range(4))

        def gone(*words: Any, **more: Any) -> Any:
            if next(blocks) == 3:
                raise BackendError("the server cannot be reached", got="refused", fix="start it")
            return block(*words, **more)

        monkeypatch.setattr(verifying, "block", gone)
        monkeypatch.setattr(verifying, "measure_primitives", gone_at_once)
        result = exchanging.verify_export("builtin:classifier", url(server), rounds=2, seconds=0.5, fps=20)
    assert result.passed
    assert result.rounds == 1
    assert result.there is not None
    assert "cannot be reached" in result.stopped


def gone_at_once(*_: Any, **__: Any) -> None:
    """A server that is not there any more."""
    raise BackendError("the server closed the connection", fix="look at its log")


def test_a_server_with_another_model_of_that_name_is_a_sentence(tmp_path: Path) -> None:
    """One with other outputs: both are named, and what to do."""
    made = make_case("builtin:classifier").plan
    other = replace(made, models=(replace(made.models[0], name="detector"),))
    with served("builtin:detector") as server, pytest.raises(ModelError, match="another model under the name") as told:
        exchanging.verify_export(other, url(server))
    assert "load the exported model there" in str(told.value)


def test_without_a_whole_round_nothing_is_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    """The right answers, and a server that is gone before it was measured: exit code 1, with the reason."""
    gone = Verification(server="s", stopped="the server cannot be reached")
    monkeypatch.setattr(exchanging, "verify_export", lambda *_, **__: gone)
    ended = CliRunner().invoke(app, ["export", "builtin:classifier", "--verify", "http://127.0.0.1:1"])
    assert ended.exit_code == 1
    assert "ended after 0 whole rounds" in ended.output


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["folder", "--rounds", "3"], "--rounds"),
        (["folder", "--rounds", "3", "--seconds", "1"], "--rounds, --seconds"),
        (["--verify", "http://127.0.0.1:1", "--overwrite"], "--overwrite"),
        (["--verify", "http://127.0.0.1:1", "--runtime", "python"], "--runtime"),
    ],
)
def test_options_that_would_mean_nothing_are_refused(tmp_path: Path, options: list[str], named: str) -> None:
    """Rounds where nothing is verified, and ways to write where nothing is written; with what to do."""
    paths = [str(tmp_path / text) if text == "folder" else text for text in options]
    ended = CliRunner().invoke(app, ["export", "builtin:classifier", *paths])
    assert isinstance(ended.exception, UsageError)
    assert ended.exception.got == named
    assert str(ended.exception.fix).startswith("leave them out")
    assert not list(tmp_path.iterdir())
