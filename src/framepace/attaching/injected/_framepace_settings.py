"""Settings that a library takes only as it is loaded, or a model with it. Standard library only."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

Settings = dict[str, str]
Apply = Callable[[Settings, ModuleType], None]


def _nothing(*arguments: Any, **options: Any) -> int:
    """In the place of what would undo a setting."""
    return 0


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
    "cv2": _cv2,
    "torch": _torch,
    "onnxruntime.capi.onnxruntime_inference_collection": _onnxruntime,
}
