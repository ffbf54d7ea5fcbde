"""Logs in the formats of tools that people use: each is understood without being told anything."""

from __future__ import annotations

import gzip
import shlex
from pathlib import Path

import numpy as np
import pytest

from framepace import UsageError, compare, explain_log, summary
from framepace.errors import FramepaceError, StoreError
from framepace.facts.log import LogExplanation
from tests.logs import samples

MS = 1_000_000
SUM_OF_STAGES = ("ultralytics",)  # without moments: back to back


def write(folder: Path, name: str) -> Path:
    """The log of a format as a file."""
    file, contents = samples.FORMATS[name]
    path = folder / file
    path.write_text(contents())
    return path


def read(folder: Path, text: str, name: str = "log.csv", **options: object) -> LogExplanation:
    """What is said of a log with this text."""
    path = folder / name
    path.write_text(text)
    return explain_log(path, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", samples.FORMATS)
def test_a_log_is_understood_by_its_names_and_values(name: str, tmp_path: Path) -> None:
    """400 frames of 12 ms at 25 per second of which every 40th takes 20 ms, whatever the units and dates."""
    answer = explain_log(write(tmp_path, name), p99_ms=18)
    frames = answer.summary.frames
    assert frames.requests == samples.FRAMES
    assert frames.mean == pytest.approx(12.2 * MS, rel=0.01)
    if name not in SUM_OF_STAGES:
        assert answer.summary.throughput == pytest.approx(25, rel=0.01)
    assert answer.late is not None
    assert (answer.late.every, answer.late.count) == (samples.EVERY, samples.FRAMES // samples.EVERY)
    assert answer.summary.missed == pytest.approx(1 / samples.EVERY)


@pytest.mark.parametrize("name", ["plain", "semicolons and decimal commas", "ultralytics"])
def test_the_stage_that_grew_is_the_logs(name: str, tmp_path: Path) -> None:
    """What late frames take more is in the stage after the model, and the experiment leaves that out."""
    answer = explain_log(write(tmp_path, name))
    assert answer.late is not None
    assert answer.late.stages[0].stage == "finish"
    (suspected,) = [one for one in answer.suspected if "--set finish=" in one.command]
    assert suspected.code == "FP017"


def test_what_no_stage_holds_is_said_to_be_not_logged(tmp_path: Path) -> None:
    """A log with one of the stages: the others are one row, and late frames are late in it."""
    answer = explain_log(write(tmp_path, "JSON lines"))
    assert [stage.name for stage in answer.summary.frames.stages] == ["infer", "not logged"]
    assert sum(stage.mean for stage in answer.summary.frames.stages) == pytest.approx(12.2 * MS, rel=0.01)
    assert answer.late is not None
    assert answer.late.stages[0].stage == "not logged"


def test_a_packed_log_and_a_parquet_file_are_the_same_log(tmp_path: Path) -> None:
    """gzip and Parquet, of any column types."""
    import pyarrow as pa
    import pyarrow.csv as arrow
    import pyarrow.parquet as pq

    text = samples.plain_csv()
    plain = read(tmp_path, text)
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(text.encode()))
    pq.write_table(arrow.read_csv(pa.BufferReader(text.encode())), tmp_path / "log.parquet")
    for name in ("log.csv.gz", "log.parquet"):
        assert explain_log(tmp_path / name).summary.frames == plain.summary.frames


def test_clocks_and_temperatures_beside_frames_are_telemetry(tmp_path: Path) -> None:
    """What nvidia-smi says, in the units of its cells, is in the levels and in the figures."""
    answer = explain_log(write(tmp_path, "with nvidia-smi"))
    (tier,) = answer.summary.frames.tiers
    assert tier.beside["sm_clock_mhz"] == 1590
    roles = {column.role for column in answer.reading.columns}
    assert {"sm_clock", "temperature", "power", "utilisation"} <= roles


def test_seconds_or_milliseconds_is_asked_and_the_answer_works(tmp_path: Path) -> None:
    """0.5 may be either. The error has both options; with either the log is read."""
    text = "latency\n" + "\n".join(f"{0.5 + 0.01 * (number % 7):.2f}" for number in range(100))
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    answers = [word for word in str(caught.value.fix).split() if "=" in word]
    means = [read(tmp_path, text, columns=[answer]).summary.frames.mean for answer in answers]
    assert means == pytest.approx([0.53 * MS, 530 * MS], rel=0.01)


def test_moments_decide_what_a_latency_without_a_unit_is(tmp_path: Path) -> None:
    """0.5 twice per second are seconds; 0.5 a thousand times are milliseconds: nothing is asked."""
    for step, mean in ((0.6, 500 * MS), (0.001, 0.5 * MS)):
        rows = "\n".join(f"{step * number:.4f},0.5" for number in range(200))
        assert read(tmp_path, f"time_s,latency\n{rows}").summary.frames.mean == pytest.approx(mean)


def test_an_unknown_column_is_asked_for_and_the_answer_works(tmp_path: Path) -> None:
    """Names that say nothing: the one question has an answer that can be added to the command as it is."""
    text = "alpha,beta\n" + "\n".join(f"{5 + number % 3},{number}" for number in range(60))
    with pytest.raises(UsageError, match="which column is the latency") as caught:
        read(tmp_path, text)
    answer = str(caught.value.fix).split("--column ")[1]
    assert read(tmp_path, text, columns=[answer]).summary.frames.mean == pytest.approx(6 * MS)


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("", "log.csv", "empty"),
        ("a,b\n", "log.csv", "no rows"),
        ("a,b\nx,y\nz,w\n", "log.csv", "no column has numbers"),
        ("\x00\x01\x02\x03", "log.csv", "cannot be understood"),
        ('{"a": 1}\nnonsense\nmore\n', "log.jsonl", "no JSON"),
        ("no parquet", "log.parquet", "damaged"),
        ("no gzip", "log.csv.gz", "gzip"),
        ("Concurrency,Inferences/Second,p50 latency,p99 latency\n1,600,1400,1700\n", "log.csv", "percentiles"),
        ("timestamp, clocks.sm [MHz], temperature.gpu\n1.0, 1590 MHz, 40\n2.0, 1580 MHz, 41\n", "log.csv", "frames"),
        ("[I] Latency: min = 1 ms, max = 3 ms, mean = 2 ms\n", "trtexec.log", "exportTimes"),
        ("latency_ms\n" + "n/a\n" * 9, "log.csv", "no row of the log has a latency"),
        ("time,latency_ms\n" + "1,nan\n2,nan\n" * 9, "log.csv", "no row of the log has a latency"),
        ('[{"count": 9}, {"name": "conv", "timeMs": 9, "averageMs": 1, "percentage": 100}]', "p.json", "row per layer"),
    ],
)
def test_what_is_no_log_is_a_sentence(text: str, name: str, words: str, tmp_path: Path) -> None:
    """Damaged files, summaries and logs of a device alone: an error that says what to do."""
    with pytest.raises(FramepaceError, match=words) as caught:
        read(tmp_path, text, name)
    assert caught.value.fix


def test_commas_group_thousands_where_they_cannot_be_decimal_points(tmp_path: Path) -> None:
    """Moments with points, or commas between cells: '8,012' us are 8.012 ms. Without either it is 8.012 us."""
    rows = [f"{number / 25:.2f};8,0{number % 3}2" for number in range(60)]
    grouped = read(tmp_path, "\n".join(["time_s;latency_us", *rows]))
    assert grouped.summary.frames.mean == pytest.approx(8.012 * MS)
    quoted = [row.replace(";", ',"') + '"' for row in rows]
    assert read(tmp_path, "\n".join(["time_s,latency_us", *quoted])).summary.frames.mean == pytest.approx(8.012 * MS)
    decimal = [row.replace(".", ",") for row in rows]
    assert read(tmp_path, "\n".join(["time_s;latency_us", *decimal])).summary.frames.mean == pytest.approx(8_012)


def test_what_a_spreadsheet_saves_as_unicode_text_is_separated_by_tabs(tmp_path: Path) -> None:
    """Its numbers have as many decimal commas as its rows have tabs."""
    rows = [f"{number / 25:.3f}\t8,02\t9,52\t1590".replace(".", ",") for number in range(60)]
    answer = read(tmp_path, "\n".join(["time [s]\tinference [ms]\ttotal [ms]\tclock [MHz]", *rows]), "log.txt")
    assert answer.summary.frames.mean == pytest.approx(9.52 * MS)


@pytest.mark.parametrize(("encoding", "name"), [("gbk", "推理时间(ms)"), ("cp1252", "Größe (µs)")])
def test_the_code_pages_of_spreadsheets_are_read(encoding: str, name: str, tmp_path: Path) -> None:
    """The question names the column as its author wrote it, with its unit, and the answer works."""
    path = tmp_path / "log.csv"
    path.write_bytes(
        "\n".join([f"n°,{name}", *(f"{number},{8 + number % 3}" for number in range(60))]).encode(encoding)
    )
    with pytest.raises(UsageError, match="which column is the latency") as caught:
        explain_log(path)
    answer = shlex.split(str(caught.value.fix))[-1]
    assert answer.startswith(f"latency={name}:")
    assert explain_log(path, columns=[answer]).summary.frames.requests == 60


def test_the_question_offers_columns_in_a_unit_of_time_that_do_not_rise(tmp_path: Path) -> None:
    """Not the first column, which is a moment."""
    text = "\n".join(["Zeit [s];Inferenz [ms];Takt [MHz]", *(f"{n};{n % 3 + 8};{n % 5 + 1590}" for n in range(60))])
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert caught.value.fix == "add --column 'latency=Inferenz [ms]:ms'"


@pytest.mark.parametrize(
    "line",
    [
        "[INFO] frame {n}: preprocess 1.2ms, inference {ms}ms, postprocess 0.8ms",
        "0: 384x640 4 persons\nSpeed: 1.2ms preprocess, {ms}ms inference, 0.8ms postprocess per image",
        "pre: 1.2 ms | infer: {ms} ms | post: 0.8 ms",
    ],
)
def test_lines_that_name_durations_are_a_log(line: str, tmp_path: Path) -> None:
    """As programs print them: numbers before names or behind them."""
    text = "\n".join(line.format(n=number, ms=8 + number % 3) for number in range(60))
    stages = {stage.name: stage.mean for stage in read(tmp_path, text, "app.log").summary.frames.stages}
    assert stages["infer"] == pytest.approx(9 * MS)
    assert stages["prepare"] == pytest.approx(1.2 * MS)
    assert stages["finish"] == pytest.approx(0.8 * MS)


def test_rows_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    """Lines with too many cells, cells without a number, and the header again: left out, and said."""
    lines = samples.plain_csv().splitlines()
    lines[10] += ",7,7"
    lines[20] = lines[0]
    lines[30] = lines[30].replace(lines[30].split(",")[1], "n/a")
    answer = read(tmp_path, "\n".join(lines))
    assert answer.summary.frames.requests == samples.FRAMES - 3
    assert answer.reading.left_out == 2
    assert any("left out" in note for note in answer.summary.notes)


def test_a_slower_log_is_slower_and_says_where(tmp_path: Path) -> None:
    """3 ms more of inference: the verdict, its interval, and the stage."""
    before, after = tmp_path / "before.csv", tmp_path / "after.csv"
    before.write_text(samples.plain_csv())
    after.write_text(samples.plain_csv(usual=15.0))
    answer = compare(before, after)
    assert answer.verdict == "slower"
    assert answer.difference is not None
    low, high = answer.difference.interval
    assert low < 3 * MS < high
    assert max(answer.stages, key=lambda stage: answer.stages[stage]) == "infer"


def test_each_of_two_logs_takes_the_columns_that_it_has(tmp_path: Path) -> None:
    """Other names in the other log; a column that neither has is an error."""
    before, after = tmp_path / "before.csv", tmp_path / "after.csv"
    before.write_text(samples.plain_csv().replace("latency_ms", "alpha"))
    after.write_text(samples.plain_csv().replace("latency_ms", "beta"))
    columns = ["latency=alpha:ms", "latency=beta:ms"]
    assert compare(before, after, columns=columns).verdict == "same"
    with pytest.raises(UsageError, match="unknown log column 'gamma'"):
        compare(before, after, columns=[*columns, "queue=gamma"])


def test_a_log_is_compared_with_a_trace(tmp_path: Path) -> None:
    """The same frames as a log and as a trace of another machine are the same; what the log lacks is one row."""
    from framepace.testing import make_trace

    (tmp_path / "log.csv").write_text(samples.plain_csv())
    frames = list(samples.frames())
    stages = {"prepare": [f.pre * MS for f in frames], "finish": [f.post * MS for f in frames]}
    trace = make_trace(np.array([f.total * MS for f in frames]), stages=stages, fps=25)
    answer = compare(trace, tmp_path / "log.csv")
    assert answer.verdict == "same"
    assert answer.logged
    assert abs(answer.stages["infer"]) < 0.01 * MS
    assert "does not say" in answer.reason


def test_any_trace_verb_takes_a_log(tmp_path: Path) -> None:
    """`summary` gives the same numbers as `explain_log`."""
    path = write(tmp_path, "plain")
    assert summary(path).frames == explain_log(path).summary.frames


def test_a_missing_log_is_a_sentence(tmp_path: Path) -> None:
    """As a missing trace is."""
    with pytest.raises(StoreError, match="cannot be read"):
        explain_log(tmp_path / "none.csv")
