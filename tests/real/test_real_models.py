"""Real models on real video, end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from framepace import api
from framepace.errors import ModelError
from framepace.facts.workload import Stop
from framepace.models.spec import inspect
from framepace.store import load_trace

pytestmark = pytest.mark.real


@pytest.mark.timing
def test_three_models_a_frame_on_a_real_video(
    tmp_path: Path, detector_model: Path, classifier_model: Path, recogniser_model: Path, bikes: Path
) -> None:
    """Detector, classifier and recogniser at 10 fps: a row each a frame, in that order, none failed, outputs finite."""
    models = [str(detector_model), str(classifier_model), str(recogniser_model)]
    settings = {
        "detector.size": "320x192",
        "classifier.size": "192x48",
        "recogniser.size": "320x48",
        "spinning": False,
    }
    trace = api.bench(models, videos=[str(bikes)], fps=10, settings=settings, stop=Stop(count=20), out=tmp_path / "t")
    r = load_trace(tmp_path / "t").requests
    assert r["model"].tolist()[:6] == [0, 1, 2, 0, 1, 2]
    assert r["outcome"].max() == 0
    assert not (r["marks"] & 2).any()
    summary = api.summary(trace)
    assert [m.model for m in summary.models] == ["detector", "classifier", "recogniser"]
    whole = np.sort(trace.measured().latency[2::3])
    assert summary.frames.mean == pytest.approx(whole.mean(), rel=0.2)


def test_a_real_model_that_does_not_say_its_size_is_asked_about(detector_model: Path) -> None:
    """All dimensions dynamic: the error names --size, and nothing is guessed."""
    with pytest.raises(ModelError, match="size") as error:
        api.bench(str(detector_model), stop=Stop(count=1))
    assert "--size" in str(error.value)


@pytest.mark.timing
def test_explain_on_a_real_model_and_video(tmp_path: Path, classifier_model: Path, bikes: Path) -> None:
    """The account of the three scopes names real decoding and preparation, and nothing is left over 5 %."""
    found = api.explain(
        str(classifier_model),
        videos=[str(bikes)],
        fps=30,
        settings={"size": "192x48"},
        out=tmp_path,
        time_limit=30,
    )
    lines = {line.name: line.ns for line in found.account.lines}
    assert lines["decode"] > 0
    assert lines["prepare"] > 0
    assert abs(found.account.unexplained) <= 0.05 * found.account.stream
    assert {trace.name for trace in tmp_path.iterdir()} >= {"stream", "pipeline", "model", "gapless"}
    assert "FP013" in {f.code for f in found.findings} | set(found.not_tested)


def test_a_truncated_real_model_is_a_sentence(tmp_path: Path, detector_model: Path) -> None:
    """The first half of the file is no model."""
    path = tmp_path / "half.onnx"
    data = detector_model.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError):
        inspect(str(path))
