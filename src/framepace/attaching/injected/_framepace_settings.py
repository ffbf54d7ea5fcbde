"""Settings of a program that is not ours, applied as its libraries are imported. Standard library only."""

from __future__ import annotations

import gc
import select
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

Settings = dict[str, str]
Apply = Callable[[Settings, ModuleType], None]
_SHORT_SWITCH_S = 0.0005  # a tenth of Python's own
_LONGEST_SPIN_S = 1.0  # a longer sleep is no pacing of frames


def apply_at_once(settings: Settings) -> None:
    """What needs no library."""
    if settings.get("collections") == "off":
        gc.disable()
        gc.enable = _nothing  # type: ignore[assignment]
        gc.collect = _nothing
    if settings.get("switch-interval") == "short":
        sys.setswitchinterval(_SHORT_SWITCH_S)


def _nothing(*arguments: Any, **options: Any) -> int:
    """In the place of what would undo a setting."""
    return 0


def _time(settings: Settings, module: ModuleType) -> None:
    """Sleeps that stay awake: the core's clock and caches stay as they are."""
    if settings.get("sleep") != "spin":
        return
    sleep: Callable[[float], None] = vars(module)["sleep"]
    clock = time.perf_counter

    def spin(seconds: float) -> None:
        if not 0 < seconds <= _LONGEST_SPIN_S:
            sleep(seconds)
            return
        end = clock() + seconds
        while clock() < end:
            select.select((), (), (), 0)  # lets other threads run; `sleep(0)` would sleep, for the timer's slack

    vars(module)["sleep"] = spin


def _onnxruntime(settings: Settings, module: ModuleType) -> None:
    if not {"spinning", "threads"} & settings.keys():
        return
    session = module.InferenceSession
    original = session.__init__

    def __init__(self: Any, path_or_bytes: Any, sess_options: Any = None, *arguments: Any, **options: Any) -> None:
        if sess_options is None:
            sess_options = module.C.SessionOptions()
        _change_options(settings, sess_options)
        original(self, path_or_bytes, sess_options, *arguments, **options)

    session.__init__ = __init__


def _change_options(settings: Settings, options: Any) -> None:
    if settings.get("spinning") == "off":
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if "threads" in settings:
        options.intra_op_num_threads = int(settings["threads"])


def _cv2(settings: Settings, module: ModuleType) -> None:
    if "opencv-threads" in settings:
        module.setNumThreads(int(settings["opencv-threads"]))
        vars(module)["setNumThreads"] = _nothing


def _torch(settings: Settings, module: ModuleType) -> None:
    if "threads" in settings:
        module.set_num_threads(int(settings["threads"]))
        vars(module)["set_num_threads"] = _nothing


CHANGES: dict[str, Apply] = {
    "time": _time,
    "cv2": _cv2,
    "torch": _torch,
    "onnxruntime.capi.onnxruntime_inference_collection": _onnxruntime,
}
