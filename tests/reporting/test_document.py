"""The --json objects: strict, and with units in their keys."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from framepace.reporting import documents, mendingdocuments
from tests.reporting import samples
from tests.reporting.samples import MS

DOCUMENTS: dict[str, documents.Document] = {
    "explain": documents.explain_document(samples.explanation(), "out/stream", report="out/report.html"),
    "bench": documents.bench_document(samples.summary(("a", "b")), "out/trace"),
    "sweep": documents.sweep_document(samples.sweep()),
    "accuracy": documents.accuracy_document(samples.accuracy()),
    "calibrate": documents.calibration_document(samples.calibrations()),
    "hunt": mendingdocuments.hunt_document(samples.hunt()),
    "rank": mendingdocuments.rank_document(samples.ranking()),
    "mend": mendingdocuments.mend_document(samples.mended()),
    "capacity": documents.capacity_document(samples.capacity()),
    "compare": documents.compare_document(samples.comparison()),
    "doctor": documents.doctor_document([], samples.MACHINE),
    "report": documents.report_document([samples.trace(10)], [samples.summary()], "r.html", "r.json"),
}


@pytest.mark.parametrize("verb", DOCUMENTS)
def test_every_document_names_its_schema(verb: str) -> None:
    """The text is JSON that reads back as the document, and its schema is the verb's."""
    read = json.loads(documents.dumps(DOCUMENTS[verb]))
    assert read == DOCUMENTS[verb]
    assert read["schema"] == f"framepace.{verb}/1"


def test_a_finding_has_the_documented_shape() -> None:
    """Code, verdict, evidence, what was changed with before, after, unit and interval, remedy and gain."""
    explained = DOCUMENTS["explain"]
    assert (explained["class"], explained["trace"]) == ("host", "out/stream")
    first = explained["findings"][0]
    assert (first["code"], first["verdict"], first["severity"]) == ("FP013", "confirmed", "high")
    trial = first["intervention"]
    assert (trial["changed"], trial["unit"], trial["before"]) == ({"spinning": False}, "ns", 41.2 * MS)
    assert trial["interval"][0] < trial["after"] < trial["interval"][1]
    assert first["remedy"]["plan"] == {"spinning": False}
    assert first["gain"]["verified"] == 34.8 * MS


def test_durations_carry_their_unit_in_the_key() -> None:
    """No duration of a summary or an account hides behind a bare name."""
    explained = DOCUMENTS["explain"]
    assert explained["account"]["stream_ns"] == 9.8 * MS
    assert explained["summaries"]["stream"]["budget_ns"] == 33.3 * MS
    frames = explained["summaries"]["stream"]["frames"]
    assert frames["stages"][1]["mean_ns"] == 2.91 * MS
    assert frames["percentiles"][0]["latency_ns"]["value"] == 9.2 * MS
    assert frames["tiers"][0]["level_ns"] == 4.7 * MS


def test_rows_are_flat() -> None:
    """A row of bench or sweep has percentiles with their ends in columns of their own; a refused one is null."""
    row = DOCUMENTS["bench"]["rows"][1]
    assert (row["model"], row["p99_ns"], row["p99_low_ns"]) == ("a", 9.81 * MS, 9.12 * MS)
    assert row["p99.9_ns"] is None
    cells = DOCUMENTS["sweep"]["rows"]
    assert cells[0]["settings"] == {"batch": 1, "wait": "sleep"}
    assert cells[0]["throughput_fps"] == 29.98
    assert cells[-1]["error"].startswith("the model has a fixed batch")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=12,
)


@given(anything)
def test_whatever_the_evidence_holds_is_strict_json(evidence: Any) -> None:
    """NaN, infinities, bytes, odd keys: the text is always strict JSON."""
    text = documents.dumps({"evidence": documents.plain(evidence)})
    constants = list[str]()  # NaN and Infinity, which strict JSON has not
    assert list(json.loads(text, parse_constant=constants.append)) == ["evidence"]
    assert not constants


def test_numbers_of_numpy_are_numbers() -> None:
    """Arrays become lists, scalars numbers, and what is not finite null."""
    evidence = {"a": np.float64(1.5), "b": np.array([1.0, np.nan]), "c": np.int64(3), "d": float("inf")}
    explained = replace(samples.explanation(), findings=(replace(samples.finding(), evidence=evidence),))
    told = documents.explain_document(explained)["findings"][0]["evidence"]
    assert told == {"a": 1.5, "b": [1.0, None], "c": 3, "d": None}
