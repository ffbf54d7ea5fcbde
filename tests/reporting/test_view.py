"""The view-model: what is said, and with which numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from framepace.facts import settings
from framepace.facts.finding import Account, AccountLine, Intervention
from framepace.facts.summary import Estimate, Percentile, Tier, TierKind
from framepace.reporting.page.bars import finding_figure
from framepace.reporting.views.explanation import account_rows, explanation_view, listed, proven
from framepace.reporting.views.finding import finding_view, moved
from framepace.reporting.views.machine import machine_line
from framepace.reporting.views.measurement import model_view, summary_view, tier_sentence
from framepace.reporting.views.settled import settled_words, unsettled_words
from framepace.reporting.views.sweep import NUMBERS, sweep_view
from framepace.reporting.views.text import MANY, first_and_last, named
from framepace.units import format_estimate, format_ms, format_quantity, ordinal, parse_duration, split_unit
from tests.reporting import samples
from tests.reporting.samples import MS


def level(first: int, last: int, ms: float) -> Tier:
    """A level of `ms`."""
    return Tier(kind="level", first=first, last=last, level=ms * MS, level_end=ms * MS)


def test_tiers_are_told_as_one_sentence() -> None:
    """Level, ramp and level read as in the design: until a request, ramp, from a request."""
    expected = "level 4.70 ms until request 60, ramp, 10.1 ms from request 175"
    assert tier_sentence(samples.model_summary().tiers) == expected
    assert tier_sentence([level(0, 99, 4.7)]) == "level 4.70 ms throughout"
    assert tier_sentence([]) == ""


def test_the_headline_says_which_clock_fell_and_that_a_ramp_has_not_settled() -> None:
    """The clocks of the first and the last level; without a last level where the latency is at the end."""
    first, last = levels(86)
    clocked = (replace(first, beside={"sm_clock_mhz": 1590.0}), replace(last, beside={"sm_clock_mhz": 585.0}))
    assert settled_words(clocked).endswith("before, 4.10 ms until request 85; SM clock 585 instead of 1,590 MHz")
    assert settled_words((first, last)).endswith("until request 85")
    ramp = Tier(kind="ramp", first=86, last=799, level=4.1 * MS, level_end=5.7 * MS)
    s = samples.summary(budget=None)
    sentence = summary_view(replace(s, frames=replace(s.frames, tiers=(first, ramp)))).sentence
    assert sentence.endswith("; not settled: 4.10 ms until request 85, 5.70 ms at the end and still rising")
    falling = replace(ramp, first=0, level_end=2 * MS)
    assert unsettled_words((falling,)) == "not settled: 4.10 ms, 2.00 ms at the end and still falling"
    assert unsettled_words((first, last)) == ""


def test_many_tiers_keep_the_first_and_the_last() -> None:
    """A sentence with too many tiers names its beginning and its end and shows that some are left out."""
    told = tier_sentence([level(i * 10, i * 10 + 9, i + 1) for i in range(40)])
    assert told.startswith("level 1.00 ms until request 9,")
    assert told.endswith("..., 40.0 ms from request 390")


@given(st.lists(st.integers(), max_size=30))
def test_few_never_exceeds_its_limit(items: list[int]) -> None:
    """`few` keeps at most MANY entries, the last among them."""
    kept = first_and_last(items)
    assert len(kept) <= MANY
    assert not items or kept[-1] == items[-1]


@pytest.mark.parametrize(
    ("low", "high", "met"), [(9.0, 10.0, True), (34.0, 40.0, False), (30.0, 36.0, None)], ids=["met", "missed", "both"]
)
def test_a_budget_inside_the_interval_is_undecided(low: float, high: float, met: bool | None) -> None:
    """The sentence says met or missed only when the whole interval of p99 is on one side of the budget."""
    s = samples.summary()
    p99 = Percentile(q=99, estimate=Estimate(value=(low + high) / 2 * MS, low=low * MS, high=high * MS))
    view = summary_view(replace(s, frames=replace(s.frames, percentiles=(p99,))))
    assert view.met is met
    assert {True: ", met", False: ", missed", None: ", undecided"}[met] in view.sentence


def levels(settled_at: int, kind: TierKind = "level") -> tuple[Tier, ...]:
    """Two levels of 800 requests, the second one with percentiles of its own."""
    told = tuple(
        Percentile(q=q, estimate=Estimate(value=ms * MS, low=(ms - 0.1) * MS, high=(ms + 0.1) * MS))
        for q, ms in ((50, 10.5), (90, 10.7), (99, 10.8))
    )
    first = Tier(kind="level", first=0, last=settled_at - 1, level=4.1 * MS, level_end=4.1 * MS)
    last = Tier(kind=kind, first=settled_at, last=799, level=10.5 * MS, level_end=10.5 * MS, percentiles=told)
    return first, last


def test_the_sentence_of_a_latency_that_settled_has_the_percentiles_of_the_last_level() -> None:
    """Those of the whole mix two levels; with a budget, which holds for all frames, both are told."""
    s = samples.summary(budget=None)
    settled = summary_view(replace(s, frames=replace(s.frames, tiers=levels(86)))).sentence
    expected = "settled from request 86: p50 10.5 ms [10.4, 10.6], p99 10.8 ms [10.7, 10.9]"
    assert settled == f"{expected}; before, 4.10 ms until request 85"
    s = samples.summary(budget=30 * MS)
    told = summary_view(replace(s, frames=replace(s.frames, tiers=levels(86)))).sentence
    assert told.startswith("budget 30.0 ms; p99")
    assert expected in told


@pytest.mark.parametrize("tiers", [levels(500), levels(86, "ramp"), levels(86)[1:]], ids=["late", "ramp", "one"])
def test_what_did_not_settle_for_half_of_the_run_has_the_percentiles_of_the_whole(tiers: tuple[Tier, ...]) -> None:
    """Another level may follow."""
    s = samples.summary(budget=None)
    sentence = summary_view(replace(s, frames=replace(s.frames, tiers=tiers))).sentence
    assert sentence.startswith("p99 ")


def test_a_refused_percentile_says_why() -> None:
    """Too few samples give a reason in place of a number, and the sentence claims no p99."""
    view = summary_view(samples.summary(refused=True))
    row = next(p for p in view.models[0].percentiles if p.label == "p99")
    assert (row.value, row.refused) == ("", "needs 662 effective samples, has 83")
    assert "too few samples for p99" in view.sentence
    assert view.met is None


def test_a_median_over_the_budget_is_a_miss() -> None:
    """Without p99 a lower percentile that is wholly over the budget still answers; one under it cannot."""
    s = samples.summary(refused=True, budget=8 * MS)
    assert summary_view(s).met is False
    assert summary_view(replace(s, budget=80 * MS)).met is None


def test_one_model_is_told_once() -> None:
    """The whole frames of a single model are that model; several models get the whole frames and each of them."""
    assert [m.name for m in summary_view(samples.summary()).models] == ["detector"]
    several = summary_view(samples.summary(("a", "b"))).models
    assert [m.name for m in several] == ["whole frames", "a", "b"]


def test_drops_and_doubts_are_counted() -> None:
    """Dropped and late requests, their causes and doubtful samples are named with their counts."""
    view = model_view(samples.model_summary())
    assert "3 late" in view.counts
    assert "1 dropped (1 buffer full)" in view.counts
    assert view.doubts == "4 clock under 75 %"
    assert "worst 41.9 ms at request 211" in view.outliers
    assert "1 gc" in view.outliers


def test_the_machine_line_names_its_limits() -> None:
    """Cores that a container may not use, the governor and the virtual machine are said."""
    line = machine_line(samples.MACHINE)
    for part in ("4 cores (limited to 2)", "8.0 GiB", "governor powersave", "virtual (kvm)", "container"):
        assert part in line


@given(st.floats(1, 1e13))
def test_a_formatted_duration_reads_back(ns: float) -> None:
    """What format_ms writes, parse_duration reads as the same duration within the three digits shown."""
    assert parse_duration(format_ms(ns).replace(",", "")) == pytest.approx(ns, rel=0.006, abs=0.6)


@given(st.floats(1e3, 1e12), st.floats(0.5, 1.0), st.floats(1.0, 2.0))
def test_an_interval_shares_the_unit_of_its_value(value: float, low: float, high: float) -> None:
    """The numbers in brackets are in the unit of the number before them, and enclose it but for rounding."""
    text, _, rest = format_estimate(value, value * low, value * high, "ns").partition(" [")
    ends = [float(end.replace(",", "")) for end in rest.rstrip("]").split(", ")]
    number = float(text.split()[0].replace(",", ""))
    assert ends[0] * 0.99 <= number <= ends[1] * 1.01


def test_a_difference_of_next_to_nothing_has_the_unit_of_its_interval() -> None:
    """Not 'difference 0 ns [-4,924,366, 433,100,802]'."""
    assert format_estimate(0, -4_924_366, 433_100_802, "ns") == "0.00 ms [-4.92, 433]"
    assert format_estimate(104e3, 48.6e3, 160e3, "ns") == "104 us [48.6, 160]"
    assert format_estimate(0, 0, 0, "ns").startswith("0 ns")


def test_units_come_from_the_ends_of_keys() -> None:
    """A key's last word is its unit where it is a known one."""
    assert split_unit("process_cpu_ns") == ("process cpu", "ns")
    assert split_unit("sm_clock_mhz") == ("sm clock", "MHz")
    assert split_unit("threads") == ("threads", "")
    assert named("threads", 4) == "4"
    assert named("gap_ns", 23e6) == "23.0 ms"
    assert named("spinning", False) == "off"
    assert named("size_bytes", 12 << 20) == "12.0 MiB"
    assert format_quantity(0.0017, "share") == "0.17 %"
    assert format_quantity(41.2e6, "ns per frame") == "41.2 ms per frame"


def test_settings_are_written_the_way_they_are_typed() -> None:
    """Booleans and None become the words that --set takes."""
    typed = settings.text({"spinning": False, "keeper": True, "heartbeat-ms": None, "threads": 1, "wait": "spin"})
    assert typed == "spinning=off keeper=on heartbeat-ms=none threads=1 wait=spin"


parts = st.lists(st.floats(-5e6, 5e6), max_size=8)


@given(parts, st.floats(-1e6, 1e6))
def test_the_waterfall_leads_from_the_model_to_the_stream(lines: list[float], unexplained: float) -> None:
    """Each part begins where the one before ended; the last ends at model + parts + unexplained."""
    named_lines = tuple(AccountLine(name=str(i), ns=ns) for i, ns in enumerate(lines))
    stream = 30e6 + sum(lines) + unexplained
    account = Account(model=30e6, pipeline=31e6, stream=stream, lines=named_lines, unexplained=unexplained)
    floating = [row for row in account_rows(account) if not row.total]
    starts = [30e6, *(row.end for row in floating[:-1])]
    assert [row.start for row in floating] == starts
    assert floating[-1].end == pytest.approx(stream)


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (Estimate(value=0.147, low=0.139, high=0.158), "6.80x less [6.33, 7.19]"),
        (Estimate(value=3.0, low=2.5, high=3.5), "3.00x more [2.50, 3.50]"),
        (Estimate(value=0.622, low=0.6, high=0.65), "-37.8 % [-40.0, -35.0]"),
        (Estimate(value=1.1), "+10.0 %"),
        (Estimate(value=0.2), "5.00x less"),
        (Estimate(value=0.0), ""),
    ],
)
def test_how_far_an_intervention_moved_the_metric(ratio: Estimate, text: str) -> None:
    """Twofold and more is a factor, less is a signed percentage; the interval is turned with it."""
    trial = samples.finding().intervention
    assert isinstance(trial, Intervention)
    assert moved(replace(trial, ratio=ratio)) == text


def test_findings_are_sorted_by_verdict() -> None:
    """Confirmed causes, undecided, refuted and not tested are kept apart, in the order they came."""
    view = explanation_view(samples.explanation())
    assert [f.code for f in view.causes] == ["FP013", "FP002"]
    assert [f.code for f in view.undecided] == ["FP003"]
    assert [f.code for f in view.refuted] == ["FP014"]
    assert [code for code, _ in view.not_tested] == ["FP012"]
    assert view.unexplained == "2.04 %"


def test_the_bottleneck_is_named_by_the_stage_that_the_cause_names() -> None:
    """A finish hook is neither decoding nor preparation, which are of the same class."""
    hook = replace(samples.finding(), code="FP011", bottleneck="decode/prepare", evidence={"stage": "finish"})
    explained = replace(
        samples.explanation(), bottleneck="decode/prepare", findings=(hook,), shares={"decode/prepare": 0.852}
    )
    assert explanation_view(explained).limit == "bottleneck: finish; of the frame budget: finish 85.2 %"


def test_a_miss_that_nothing_explains_says_what_was_not_tried() -> None:
    """Neighbours that nobody was allowed to try are not found on line forty only."""
    missed = replace(samples.explanation(healthy=True), bottleneck="unexplained", met=False)
    assert explanation_view(missed).limit == (
        "the budget is missed, and nothing that was tried explains it; "
        "not tried: FP012: CPU oversubscribed: no time left (--time-limit)"
    )


def test_an_undecided_cause_whose_runs_differ_hundredfold_shows_no_number() -> None:
    """'+2.04 % [-99.9, 95,116]' says nothing; '-2.10 % [-5.20, 1.10]' says how little there can be."""
    undecided = samples.finding(verdict="undecided")
    assert undecided.intervention is not None
    wide = replace(undecided.intervention, ratio=Estimate(value=1.02, low=0.001, high=952.0))
    view = finding_view(replace(undecided, intervention=wide))
    assert listed([view]) == "FP013 idle threads spin (its runs differ too much to tell)"
    assert "%" in listed([finding_view(undecided)])


def test_only_what_was_switched_off_is_said_to_be_proven_by_that() -> None:
    """That a model exceeds the budget is measured and not tried, and stands among the causes."""
    tried = finding_view(samples.finding())
    measured = finding_view(replace(samples.finding(), code="FP102", intervention=None))
    assert proven([tried]) == "1 cause, proven by switching it off"
    assert proven([tried, tried]) == "2 causes, worst first, each proven by switching it off"
    assert proven([tried, measured]) == "2 causes, worst first: 1 proven by switching off, 1 measured"
    assert proven([measured]) == "1 cause, seen in the measurements"


def test_ordinals() -> None:
    """The tens have a rule of their own."""
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 22, 111)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "22nd", "111th",
    ]  # fmt: skip


def test_a_finding_in_words() -> None:
    """Before, after, the setting that does it and the verified gain carry their intervals and units."""
    f = finding_view(samples.finding())
    assert (f.before, f.after) == ("41.2 ms", "6.06 ms [5.73, 6.51]")
    assert f.setting == "spinning=off"
    assert f.gain == "saves 34.8 ms [34.1, 35.4] of latency per frame, verified (35.1 ms predicted)"
    assert ("threads", "4") in f.evidence


def test_a_remedy_that_makes_it_worse_is_no_gain() -> None:
    """A verified gain below zero is told as what it adds, its interval turned with it."""
    f = samples.finding()
    assert f.gain is not None
    worse = replace(f.gain, verified=-1.09 * MS, interval=(-1.98 * MS, -0.36 * MS))
    gain = finding_view(replace(f, gain=worse)).gain
    assert gain == "none: adds 1.09 ms [0.36, 1.98] of latency per frame, verified (35.1 ms predicted)"
    doubtful = replace(f.gain, verified=-1.09 * MS, interval=(-1.98 * MS, 0.36 * MS))
    gain = finding_view(replace(f, gain=doubtful)).gain
    assert gain == "not sure: -1.09 ms [-1.98, 0.36] of latency per frame in the whole stream (35.1 ms predicted)"


def test_a_sweep_finds_its_axis() -> None:
    """The first setting with several numeric values is the axis; a failed cell keeps the first line of its error."""
    view = sweep_view(samples.sweep())
    assert view.names == ("batch", "wait")
    assert view.axis == 0
    assert view.rows[-1].error == "the model has a fixed batch of 2"
    assert view.rows[0].met is True


def test_a_sweep_in_which_all_failed_has_the_columns_of_one_that_did_not() -> None:
    """Every row has a text for each of them."""
    found = samples.sweep()
    view = sweep_view(replace(found, cells=found.cells[-1:] * 2))
    assert view.numbers == NUMBERS
    assert [len(row.texts) for row in view.rows] == [len(NUMBERS)] * 2


def test_where_no_cause_could_be_tried_the_second_line_names_the_suspects_and_the_reason() -> None:
    """One reason is told once for all that share it; the others are counted."""
    late = "no time left (--time-limit)"
    untried = replace(samples.explanation(healthy=True), findings=(), not_tested={"FP008": late, "FP004": late})
    assert explanation_view(untried).limit == f"no cause could be tried: FP008, FP004: {late}"
    both = replace(untried, not_tested={"FP008": late, "FP012": "other processes take the cores"})
    assert explanation_view(both).limit == f"no cause could be tried: FP008: {late}; 1 more below"


def test_where_nothing_was_suspected_no_change_is_said_to_have_been_tried() -> None:
    """A healthy case without suspects is neither 'tried' nor 'could not be tried'."""
    healthy = replace(samples.explanation(healthy=True), findings=(), not_tested={})
    assert explanation_view(healthy).has_trials is None
    assert explanation_view(replace(healthy, not_tested={"FP008": "no time"})).has_trials is False


def test_the_figure_of_a_finding_names_what_was_compared_as_the_words_do() -> None:
    """'per frame', though old explanations store 'a frame'."""
    record = samples.finding().intervention
    assert record is not None
    title = finding_figure(replace(record, metric="CPU time a frame"))["layout"]["xaxis"]["title"]["text"]
    assert title.startswith("CPU time per frame (")
