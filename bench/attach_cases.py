"""The programs of `tests/programs` that have a healthy and an ill form, and what is right to say of the ill one."""

from __future__ import annotations

from dataclasses import dataclass

ASLEEP = "FP002"  # true of many machines where a loop sleeps between frames, whatever else is wrong
_PREPARATION = "preparation takes"
_FINISHING = "what follows the model takes"
_DECODING = "decoding takes"
_THREADS = ("FP012", "FP013")  # threads that are too many spin, too: switching either off helps
_COLLECTIONS = "FP015"  # millions of small objects: making them and collecting them are both true


@dataclass(frozen=True)
class Case:
    """A program: codes, or beginnings of titles, that are right of its ill form, and what is true of both forms.

    `fps` is the rate that its frames must keep, `seconds` the limit of an explanation.
    """

    right: tuple[str, ...]
    model: str = "detector_640x384"
    true: tuple[str, ...] = ()
    fps: float | None = None
    seconds: float = 90.0


CASES: dict[str, Case] = {
    "busy_thread": Case(("FP014",)),
    "camera_batch": Case((_PREPARATION,)),
    "collected": Case((_COLLECTIONS,)),
    "coroutines": Case((_FINISHING,)),
    "fixed_sleep": Case(("the loop sleeps although it is behind",), true=(ASLEEP,), fps=25.0),
    "float_first": Case((_PREPARATION,), "detector_320x192"),
    "fresh_buffers": Case((_PREPARATION,)),
    "idle_threads": Case(("FP013",), "detector_320x192", true=(ASLEEP,)),
    "large_video": Case((_DECODING, _PREPARATION)),
    "loaded_each_time": Case(("the model is loaded again",)),
    "long_queue": Case(("FP018",)),
    "many_threads": Case(_THREADS, "detector_320x192", seconds=200.0),
    "model_processes": Case(_THREADS, "detector_320x192", seconds=200.0),
    "model_threads": Case(_THREADS, "detector_320x192", seconds=200.0),
    "pillow_resize": Case((_PREPARATION,)),
    "pixel_loop": Case((_PREPARATION, _COLLECTIONS), "detector_320x192"),
    "polled": Case(("FP024",), "detector_320x192", true=(ASLEEP,)),
    "printed_arrays": Case((_FINISHING, _COLLECTIONS)),
    "saved_pictures": Case((_FINISHING,)),
    "seeking": Case(("pictures are sought",)),
    "shared_lock": Case(("frames wait for a lock",)),
    "sleeps_within": Case(("FP024",), "detector_320x192", true=(ASLEEP,)),
    "synced_log": Case((_FINISHING,)),
    "tracked": Case((_FINISHING,)),
    "yolo_boxes": Case((_FINISHING, _COLLECTIONS)),
}
