"""Why a plan may have a setting: what it brings and what it costs, for people who read a plan."""

from __future__ import annotations

from collections.abc import Mapping

_TRAINED = "as the model was trained"
# By setting, or by setting and value where values differ in what they are for.
_WHY: Mapping[str, str] = {
    "batch": "more frames a second where one does not fill the device; a frame waits for its company",
    "window-ms": "fuller batches; each frame may wait so long for them",
    "batch-policy=deadline": "full batches without a window to choose: a batch waits only while the device is busy",
    "batch-sizes": "sizes that the hardware runs well",
    "threads": "more: a model alone is faster; fewer: models, workers and decoding do not fight for cores",
    "spinning=off": "idle threads leave their cores to decoding and to others; each inference has to wake them up",
    "precision": "fewer bytes and faster arithmetic; outputs change a little, which is to be checked",
    "size": "the model leaves it open, or a smaller one is faster; what is recognised changes with it",
    "resize=letterbox": "keeps the proportions, as the model was trained",
    "layout": "as the model was exported, where it does not say so itself",
    "colour": _TRAINED,
    "scale": f"{_TRAINED}: (pixel * scale - mean) / std",
    "mean": f"{_TRAINED}: (pixel * scale - mean) / std",
    "std": f"{_TRAINED}: (pixel * scale - mean) / std",
    "pad-value": _TRAINED,
    "prepare-constant=on": "for measuring only: shows what preparation costs, the model sees no frame",
    "prepare-place=graph": "a quarter of the bytes to copy, and the arithmetic on the device",
    "prepare-hook": "preparation of your own",
    "device": "where the model runs",
    "slots=1": "no request waits behind another on the device; copies and kernels no longer overlap",
    "slots": "copies of one request overlap the kernels of others; each waits for those before it",
    "transfer=pageable": "for comparison: copies as plain code makes them, slower than from pinned memory",
    "transfer=device": "for measuring only: the same input again and again, nothing is copied",
    "graph=on": "many short kernels are launched at once: less of the host's time for each inference",
    "stream=shared": "for comparison: as code on the default stream runs, where workers wait for each other",
    "sms": "workers do not disturb each other; each has only a part of the device",
    "calibration": "int8 needs frames like those it will see",
    "workers": "several frames are worked on at once; each worker takes memory of its own",
    "strategy=serial": "for comparison: the models of a frame one after the other",
    "strategy=threads": "the models of a frame side by side; they share the interpreter's lock",
    "strategy=processes": "the models of a frame side by side without a common interpreter lock; more memory",
    "strategy=asyncio": "for comparison: coroutines around calls that block, one after the other",
    "strategy=asyncio-threads": "the models of a frame side by side, from code that awaits them",
    "strategy=worker-processes": "workers without a common interpreter lock; each loads all models again",
    "decode=inline": "no hand-over between threads; decoding takes the worker's time",
    "wait=sleep": "no CPU time while waiting; frames start as late as the system wakes up",
    "wait=spin": "no late wake-up and no core that fell asleep; one core a worker is always busy",
    "spin-us": "as long as the machine oversleeps: shorter saves CPU time, longer starts frames on time",
    "keeper=on": "the core does not fall asleep between frames and is still there for others; costs power",
    "heartbeat-ms": "clocks and caches stay between frames as they are during them; costs power",
    "gc=off": "the interpreter does not pause while frames run; memory in cycles is not given back",
    "lock-memory=on": "no page faults once it runs; needs the right to lock so much memory",
    "nice": "before (or behind) neighbours on the machine; below 0 needs a privilege",
    "finish": "what is done with the outputs",
    "buffer": "more: a short stall loses no frame; fewer: frames are younger when they are taken",
    "drop=oldest": "a live stream stays live; what does not fit is lost, and counted",
    "stale-ms": "a frame so old is not worth the work; it is lost, and counted",
}


def why(setting: str, value: str) -> str:
    """What a plan has `setting` at `value` (as typed after `--set`) for; '' where its sentence says all."""
    return _WHY.get(f"{setting}={value}") or _WHY.get(setting, "")
