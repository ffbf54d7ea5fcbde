"""What can be set in a program of somebody else, from outside: the settings, their environment, and what to write."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from framepace import values
from framepace.errors import UsageError
from framepace.facts.finding import MetricKind

SETTINGS_VARIABLE = "FRAMEPACE_SET"
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_MOST_THREADS = 4096


@dataclass(frozen=True)
class ProgramSetting:
    """A setting: its one word, or any number of threads where that is None; what it does; what to write instead.

    `code` is the cause that it switches off, `kinds` are the kinds of metrics that it is meant to lower.
    """

    word: str | None
    help: str
    code: str
    instead: str
    kinds: tuple[MetricKind, ...] = ("latency", "cpu")


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
        "poll time.perf_counter() instead of time.sleep()", ("latency",),
    ),
    "collections": ProgramSetting(
        "off", "no garbage collection, neither by itself nor by gc.collect()", "FP015",
        "gc.disable() after loading, and no gc.collect() per frame", ("tail",),
    ),
    "switch-interval": ProgramSetting(
        "short", "Python's threads hand over the interpreter lock after 0.5 ms instead of 5 ms", "FP014",
        "sys.setswitchinterval(0.0005); better: no thread that computes in Python beside the frames",
    ),
}  # fmt: skip


def checked(settings: Mapping[str, object]) -> dict[str, str]:
    """Settings and environment variables (names in capitals), each of a known name and value. Raises UsageError."""
    return {str(name): _checked(str(name), value) for name, value in settings.items()}


def _checked(name: str, value: object) -> str:
    if _VARIABLE.fullmatch(name):
        return str(value)
    setting = PROGRAM_SETTINGS.get(name)
    if setting is None:
        expected = f"{', '.join(PROGRAM_SETTINGS)}, or an environment variable in capitals"
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
    environment = {name: value for name, value in settings.items() if name not in PROGRAM_SETTINGS}
    if own:
        environment[SETTINGS_VARIABLE] = json.dumps(own)
    if own.get("spinning") == "off":
        environment |= {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
    if "threads" in own:
        environment["OMP_NUM_THREADS"] = own["threads"]
    return environment


def instead(name: str, value: str) -> str:
    """What to write into the program in place of a setting."""
    setting = PROGRAM_SETTINGS.get(name)
    if setting is None:
        return f"export {name}={value}"
    return setting.instead.format(value=value)
