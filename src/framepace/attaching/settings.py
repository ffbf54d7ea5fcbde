"""What can be set in a program of somebody else, from outside: the settings, their environment, and what to write."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from framepace import values
from framepace.errors import UsageError
from framepace.facts.finding import MetricKind

SETTINGS_VARIABLE = "FRAMEPACE_SET"
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_ARGUMENT = re.compile(r"--?[A-Za-z][\w.-]*")
_MOST_THREADS = 4096


@dataclass(frozen=True)
class ProgramSetting:
    """A setting: its one word, or any number of threads where that is None; what it does; what to write instead.

    `code` is the cause that it switches off, `kinds` are the kinds of metrics that it is meant to lower. `live`: it can
    be switched while the program runs. `only_tried`: the program does something else with it, so that it shows where
    the time goes, and is no remedy; it is tried where it is named, and never launched.
    """

    word: str | None
    help: str
    code: str
    instead: str
    kinds: tuple[MetricKind, ...] = ("latency", "cpu")
    live: bool = False
    only_tried: bool = False


PROGRAM_SETTINGS: Mapping[str, ProgramSetting] = {
    "spinning": ProgramSetting(
        "off", "idle threads of ONNX Runtime and OpenMP wait instead of spinning", "FP013",
        'session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")',
    ),
    "threads": ProgramSetting(
        None, "threads of an inference in ONNX Runtime, PyTorch and OpenMP", "FP012",
        "session_options.intra_op_num_threads = {value}; torch.set_num_threads({value})", ("latency",),
    ),
    "opencv-threads": ProgramSetting(None, "threads of OpenCV", "FP012", "cv2.setNumThreads({value})"),
    "sleep": ProgramSetting(
        "spin", "time.sleep stays awake, so that the core does not fall asleep or lower its clock", "FP002",
        "poll time.perf_counter() instead of time.sleep()", ("latency",), live=True,
    ),
    "collections": ProgramSetting(
        "off", "no garbage collection, neither by itself nor by gc.collect()", "FP015",
        "gc.disable() after loading, and no gc.collect() per frame", ("tail",), live=True,
    ),
    "switch-interval": ProgramSetting(
        "short", "Python's threads hand over the interpreter lock after 0.5 ms instead of 5 ms", "FP014",
        "sys.setswitchinterval(0.0005); better: no thread that computes in Python beside the frames", live=True,
    ),
    "awake": ProgramSetting(
        "on", "a process of idle priority spins on each core, so that none falls asleep", "FP002",
        "nothing: run it by framepace launch, or with idle=poll where the machine is yours", ("latency",), live=True,
    ),
    "priority": ProgramSetting(
        "high", "the program's threads go before those of other programs (nice -10; needs the right to it)", "FP012",
        "os.setpriority(os.PRIO_PROCESS, 0, -10), or start it by nice -n -10", ("latency", "tail"), live=True,
    ),
    "heartbeat": ProgramSetting(
        "on", "sessions of ONNX Runtime run on their last input in the gaps, so that caches and clocks stay warm",
        "FP003", "session.run() on the last input while the loop waits", ("latency",), live=True,
    ),
    "decode": ProgramSetting(
        "cached", "the first eight pictures come again and again instead of new ones", "FP011",
        "decode in a thread of its own, or at the size that the model needs", live=True, only_tried=True,
    ),
    "sinks": ProgramSetting(
        "off", "nothing is shown, written to a picture or video, or printed", "FP011",
        "show and write in a thread of its own, or not every frame", live=True, only_tried=True,
    ),
}  # fmt: skip


def checked(settings: Mapping[str, object]) -> dict[str, str]:
    """Settings, environment variables (names in capitals) and arguments (--name) of the program; raises UsageError."""
    return {str(name): _checked(str(name), value) for name, value in settings.items()}


def launchable(settings: Mapping[str, object]) -> dict[str, str]:
    """The same, of settings with which a program does its work. Raises UsageError for one that is only tried."""
    chosen = checked(settings)
    for name in chosen:
        if name in PROGRAM_SETTINGS and PROGRAM_SETTINGS[name].only_tried:
            fix = f"framepace attach --try {name}={chosen[name]} -- python app.py"
            raise UsageError(f"with {name} a program does something else, so it is only tried", got=name, fix=fix)
    return chosen


def _checked(name: str, value: object) -> str:
    if _VARIABLE.fullmatch(name) or _ARGUMENT.fullmatch(name):
        return str(value)
    setting = PROGRAM_SETTINGS.get(name)
    if setting is None:
        expected = f"{', '.join(PROGRAM_SETTINGS)}, an environment variable in capitals, or an argument: --name"
        fix = "framepace launch --set spinning=off -- python app.py"
        raise UsageError("a program has no such setting", got=name, expected=expected, fix=fix)
    if setting.word is None:
        return f"{values.number(value, name, least=1, most=_MOST_THREADS, whole=True):g}"
    if str(value) != setting.word:
        fix = f"{name}={setting.word}, or leave it out"
        raise UsageError(f"{name} has one value", got=value, expected=setting.word, fix=fix)
    return setting.word


def variables(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment that brings checked settings into a program."""
    own = {name: value for name, value in settings.items() if name in PROGRAM_SETTINGS}
    environment = {name: value for name, value in settings.items() if _VARIABLE.fullmatch(name)}
    if own:
        environment[SETTINGS_VARIABLE] = json.dumps(own)
    if own.get("spinning") == "off":
        environment |= {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
    if "threads" in own:
        environment["OMP_NUM_THREADS"] = own["threads"]
    return environment


def with_arguments(command: Sequence[str], settings: Mapping[str, str]) -> list[str]:
    """The command with the arguments among the settings: each where the command has it, else at its end."""
    words = list(command)
    for name, value in settings.items():
        if _ARGUMENT.fullmatch(name):
            words = _with_argument(words, name, value)
    return words


def _with_argument(words: Sequence[str], name: str, value: str) -> list[str]:
    for place, word in enumerate(words):
        if word == name:
            return [*words[: place + 1], value, *words[place + 2 :]]
        if word.startswith(f"{name}="):
            return [*words[:place], f"{name}={value}", *words[place + 1 :]]
    return [*words, name, value]


def instead(name: str, value: str) -> str:
    """What to write into the program in place of a setting."""
    setting = PROGRAM_SETTINGS.get(name)
    if setting is None:
        return f"{name} {value}" if _ARGUMENT.fullmatch(name) else f"export {name}={value}"
    return setting.instead.format(value=value)
