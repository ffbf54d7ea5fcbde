"""Trials in whole runs of a program: which runs are made, and what is said of them. Runs are made up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from framepace.attaching.answers import Answer, Output
from framepace.attaching.program import Observation
from framepace.attaching.turns import Turns
from framepace.errors import UsageError
from framepace.facts.program import Part, Program, SessionFacts
from framepace.facts.programtrial import ProgramExplanation
from framepace.programtrials.schedule import ROUNDS
from framepace.programtrials.trials import try_settings
from framepace.progress import Tell, silent
from framepace.testing import make_trace
from framepace.units import NS_PER_S

FRAMES = 40


PACED = Program(
    command=("app.py",),
    names=("model",),
    sessions={"model": SessionFacts()},
    parts=(Part(stage="infer", name="run", ns=2e7), Part(stage="between", name="time.sleep", ns=1e7)),
)
EVERYTHING = replace(
    PACED,
    threads={"cv2": 2},
    parts=(*PACED.parts, Part(stage="prepare", name="cv2.resize", ns=4e6), Part(stage="finish", name="gc", ns=2e6)),
)


def observation(
    latencies: Sequence[float], program: Program = PACED, answered: float = 1.0, **trace: Any
) -> Observation:
    """A run of a program whose frames took so long, and whose model answered that to its one input."""
    answer = Answer(1, (Output((1,), (answered,)),))
    return Observation(make_trace(latencies, program=program, **trace), 0, {}, (answer,))


def runs_of(latency_ms: Callable[[Mapping[str, str]], float], seen: list[str]) -> Callable[..., Observation]:
    """Runs whose frames all take the same, but for a small change from frame to frame."""

    def run(settings: Mapping[str, str], **_: Any) -> Observation:
        seen.append(" ".join(f"{name}={value}" for name, value in settings.items()))
        latency = latency_ms(settings)
        return observation([latency * (1 + 0.01 * (n % 3)) for n in range(FRAMES)])

    return run


def noisy_runs(seed: int, effects: Mapping[str, float], between_runs: float = 0.1) -> Callable[..., Observation]:
    """Runs of which each has a level of its own, and frames that scatter about it by a tenth."""
    rng = np.random.default_rng(seed)

    def run(settings: Mapping[str, str], **_: Any) -> Observation:
        level = 20.0 * np.exp(rng.normal(0.0, between_runs))
        for name in settings:
            level *= effects.get(name, 1.0)
        return observation(list(level * np.exp(rng.normal(0.0, 0.1, FRAMES))), EVERYTHING)

    return run


@pytest.mark.long
def test_where_nothing_helps_nothing_is_proven_by_chance() -> None:
    """Of 60 programs with five settings each at most one has a proven setting (the bound is 1 of 100)."""
    explained = [try_settings(noisy_runs(seed, {}), None, 1e6) for seed in range(60)]
    assert sum(any(trial.verdict == "confirmed" for trial in found.trials) for found in explained) <= 1


def test_half_the_latency_is_proven_although_runs_differ_by_a_tenth() -> None:
    """And nothing else with it."""
    for seed in range(4):
        found = try_settings(noisy_runs(seed, {"spinning": 0.5}), None, 1e6)
        proven = [dict(trial.settings) for trial in found.trials if trial.verdict == "confirmed"]
        assert proven == [{"spinning": "off"}]


def test_a_setting_that_helps_is_proven_and_stands_first() -> None:
    """Half the latency without spinning, the same with another number of threads."""
    seen: list[str] = []
    run = runs_of(lambda settings: 10.0 if "spinning" in settings else 20.0, seen)
    found = try_settings(run, [{"threads": 1}, {"spinning": "off"}], 1000.0)
    assert next((*trial.settings, trial.verdict) for trial in found.trials) == ("spinning", "confirmed")
    assert found.trials[0].decisive == "latency"
    assert found.trials[0].code == "FP013"
    assert found.trials[1].verdict != "confirmed"


def test_rounds_are_interleaved_and_every_second_one_goes_backwards() -> None:
    """After a first run that counts for no trial."""
    seen: list[str] = []
    try_settings(runs_of(lambda _: 10.0, seen), [{"spinning": "off"}, {"threads": 1}], 1000.0)
    assert seen[:7] == ["", "", "spinning=off", "threads=1", "threads=1", "spinning=off", ""]
    assert len(seen) <= 1 + 3 * ROUNDS


def test_what_is_tried_follows_from_the_calls_that_were_seen() -> None:
    """A session with idle threads, and sleeps between frames: no OpenCV, no collections, no lock."""
    found = try_settings(runs_of(lambda _: 10.0, []), None, 1000.0)
    assert {name for trial in found.trials for name in trial.settings} == {"spinning", "threads", "sleep"}


def test_a_setting_with_which_the_program_fails_is_told_and_the_others_are_tried() -> None:
    """Its error is kept."""

    def latency(settings: Mapping[str, str]) -> float:
        if "threads" in settings:
            raise UsageError("no inference of the program was seen")
        return 10.0

    found = try_settings(runs_of(latency, []), [{"threads": 1}, {"spinning": "off"}], 1000.0)
    errors = {next(iter(trial.settings)): trial.error for trial in found.trials}
    assert errors["threads"] == "no inference of the program was seen"
    assert errors["spinning"] is None


def test_a_setting_that_changes_the_answers_is_no_remedy_however_fast_it_is() -> None:
    """It is told so after one round; one that keeps them is proven."""

    def run(settings: Mapping[str, str], **_: Any) -> Observation:
        return observation([10.0 if settings else 20.0] * FRAMES, answered=2.0 if "MODEL" in settings else 1.0)

    proven, changed = try_settings(run, [{"MODEL": "small.onnx"}, {"spinning": "off"}], 1000.0).trials
    assert (*proven.settings, proven.verdict, proven.answers) == ("spinning", "confirmed", "same")
    assert (*changed.settings, changed.verdict, changed.answers) == ("MODEL", "refuted", "changed")
    assert changed.interventions[0].rounds == 1


def started(latency_ms: float, cpu_share: float, start_s: float) -> Observation:
    """A run that computed on a whole core until its first frame, and then for a share of one."""
    times = np.arange(0, 4 * NS_PER_S, NS_PER_S // 50)
    since = times - start_s * NS_PER_S
    used = np.where(since < 0, times, start_s * NS_PER_S + cpu_share * since).astype(np.int64)
    due = (start_s * NS_PER_S + np.arange(FRAMES) * NS_PER_S / 40).astype(np.int64)
    telemetry = {"time": times, "device": -1, "process_cpu": used}
    return observation([latency_ms * 1e6] * FRAMES, due=due, telemetry=telemetry)


def test_cpu_time_that_is_saved_is_proven_however_long_a_program_starts() -> None:
    """Half of it, in a second of frames; the start takes one to three seconds of a core, now this, now that."""
    starts = iter(np.random.default_rng(0).uniform(1, 3, 100))

    def run(settings: Mapping[str, str], **_: Any) -> Observation:
        return started(10.0, 0.3 if settings else 0.6, next(starts))

    (trial,) = try_settings(run, [{"spinning": "off"}], 1000.0).trials
    assert (trial.verdict, trial.decisive) == ("confirmed", "CPU time a frame")
    cpu = next(one for one in trial.interventions if one.kind == "cpu")
    assert cpu.ratio.value == pytest.approx(0.5, rel=0.02)


def test_what_runs_are_too_short_to_tell_stays_undecided_and_is_said() -> None:
    """Forty frames in forty milliseconds: no ratio of CPU time, which is what such a setting is meant to lower."""

    def run(settings: Mapping[str, str], **_: Any) -> Observation:
        times = np.arange(5) * 20 * 10**6
        telemetry = {"time": times, "device": -1, "process_cpu": times}
        return observation([5e5] * FRAMES, due=np.arange(FRAMES) * 10**6, telemetry=telemetry)

    found = try_settings(run, [{"spinning": "off"}], 1000.0)
    assert found.trials[0].verdict == "undecided"
    assert not [one for one in found.trials[0].interventions if one.kind == "cpu"]
    assert any("a tenth of a second" in note for note in found.notes)


@pytest.mark.parametrize(("busy", "told"), [(7, True), (0.5, False)])
def test_other_programs_on_the_cores_are_told(busy: float, told: bool) -> None:
    """Nine tenths of four cores, or little of them."""
    times = 10**9 + np.arange(11) * 10**8
    telemetry = {"time": times, "device": -1, "process_cpu": np.arange(11) * 10**6}
    telemetry["system_busy"] = (np.arange(11) * busy * 10**8).astype(int)

    def run(settings: Mapping[str, str], **_: Any) -> Observation:
        return observation([5e6] * 60, telemetry=telemetry)

    found = try_settings(run, [], 10.0)
    assert any("other programs took" in note for note in found.notes) == told


def test_without_time_for_a_round_nothing_is_decided() -> None:
    """And the note says what to do."""
    seen: list[str] = []
    found = try_settings(runs_of(lambda _: 10.0, seen), [{"threads": 1}], 1e-9)
    assert seen == [""]
    assert [trial.verdict for trial in found.trials] == ["undecided"]
    assert any("--time-limit" in note for note in found.notes)


def test_what_stayed_undecided_says_how_long_it_takes_and_is_decided_then() -> None:
    """Runs in blocks on a clock of their own, of which each scatters: the limit that the note names suffices."""
    undecided = in_blocks(8.0, effect=0.85, spread=0.4)
    assert [trial.verdict for trial in undecided.trials] == ["undecided"]
    (note,) = [note for note in undecided.notes if "--time-limit" in note]
    assert "sleep=spin" in note
    limit = float(note.partition("--time-limit ")[2].partition(":")[0])
    assert limit > 8.0
    assert [trial.verdict for trial in in_blocks(limit, effect=0.85, spread=0.4).trials] == ["confirmed"]


def test_what_a_program_takes_to_start_is_not_taken_from_its_trials_in_blocks() -> None:
    """Five minutes until the first inference, in a limit of a minute."""
    found = in_blocks(60.0, starting=300.0)
    assert [trial.verdict for trial in found.trials] == ["confirmed"]
    assert found.seconds > 600


def test_the_first_inference_is_waited_for_in_words() -> None:
    """And then the run is told."""
    told: list[str] = []
    in_blocks(60.0, tell=lambda text, share: told.append(text))
    assert [text.partition(":")[0] for text in told[:3]] == [
        "waiting for the first inference", "running the program as it is", "waiting for the first inference"
    ]  # fmt: skip
    assert told[3].startswith("blocks of")


def in_blocks(
    limit: float, starting: float = 0.0, tell: Tell = silent, effect: float = 0.8, spread: float = 0.25
) -> ProgramExplanation:
    """A sleep that spins leaves a share of the latency of a program of 50 fps, whose frames scatter."""
    rng = np.random.default_rng(1)
    passed = [0.0]

    def run(
        settings: Mapping[str, str], *, turns: Turns | None = None, seconds: float | None = None, **run: Any
    ) -> Observation:
        assert seconds is not None
        run["begun"](starting)
        passed[0] += starting + seconds
        begin = (turns.begin_ns if turns else 0) + int(starting * NS_PER_S)
        due = begin + np.arange(int(seconds * 50)) * NS_PER_S // 50
        latencies = 1e6 * np.exp(rng.normal(0.0, spread, len(due)))
        if turns is not None:
            spins = np.array(turns.with_setting("sleep"))
            latencies[spins[(due - turns.begin_ns) // turns.block_ns % len(spins)]] *= effect
        seen = observation(list(latencies), replace(PACED, period=NS_PER_S / 50), due=due)
        return dataclasses.replace(seen, by_time=True, starting=starting)

    return try_settings(run, [{"sleep": "spin"}], limit, tell, now=lambda: passed[0])


def test_ctrl_c_keeps_the_rounds_that_are_whole() -> None:
    """The verdicts are those until then."""
    seen: list[str] = []

    def latency(settings: Mapping[str, str]) -> float:
        if len(seen) > 6:
            raise KeyboardInterrupt
        return 10.0 if settings else 20.0

    found = try_settings(runs_of(latency, seen), [{"spinning": "off"}], 1000.0)
    assert found.interrupted
    assert found.trials[0].interventions[0].rounds == 2


def test_a_program_that_cannot_be_observed_as_it_is_raises() -> None:
    """There is nothing to hold a setting against."""

    def latency(settings: Mapping[str, str]) -> float:
        raise UsageError("no inference of the program was seen")

    with pytest.raises(UsageError, match="no inference"):
        try_settings(runs_of(latency, []), None, 10.0)
