"""Causes on the CPU, for `bench/injected.py --device cpu`: each on a network that is built in, and on an exported one.

What is right follows from what is injected. Where a stage is slow for two reasons that are both true, both are right.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from cpu_hooks import cpu_quota, lock_holder, low_priority, stalling_reader
from injections import Healthy, Injection, Setup, busy_neighbour, heavy_video
from report_cases import camera

from framepace import api
from framepace.analyze.stages import stages
from framepace.engine.corekeeper import usable_cores
from framepace.facts.settings import Case
from framepace.facts.workload import Burst, Closed, Load, Stop

EXPORTS = Path.home() / ".cache/framepace/networks"
# One thread that does not spin: nothing is slow but what is injected.
_PLAIN = {"threads": 1, "spinning": False}
_SMALL = ("builtin:classifier", "transformers-vit")
_MEDIUM = ("builtin:detector", "torchvision-mnasnet0_5")
_QUOTA_CORES = 0.5
_OF_THE_BUDGET = 0.58  # that the model takes on one thread where it could have more
_ALONE_S = 0.6


def _at(setup: Setup, fps: float | None = 30, videos: tuple[str, ...] = (), **settings: Any) -> Case:
    """The network on the CPU at that rate."""
    return _loaded(setup, None, fps=fps, videos=videos, **settings)


def _loaded(setup: Setup, load: Load | None, **given: Any) -> Case:
    """The network on the CPU under a load."""
    fps = given.pop("fps", None)
    videos = given.pop("videos", ())
    changes = {name.replace("_", "-"): value for name, value in given.items()}
    return api.make_case(setup.model, fps=fps, load=load, videos=videos, settings={**_PLAIN, **changes})


def _few_threads(setup: Setup) -> Case:
    """One thread, on which the network takes over half of the budget."""
    alone = api.make_case(setup.model, fps=None, scope="model", settings=_PLAIN, stop=Stop(seconds=_ALONE_S))
    seconds = float(np.median(stages(api.bench(alone).measured())["infer"])) / 1e9
    return _at(setup, fps=round(_OF_THE_BUDGET / seconds, 1))


@lru_cache(maxsize=1)
def _port() -> int:
    """A free port of this machine; the same for the camera and for who reads it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _live(setup: Setup) -> Case:
    """A camera of 30 fps whose pictures take 45 ms each, and none is dropped."""
    return _at(setup, videos=(f"tcp://127.0.0.1:{_port()}",), drop="never", finish="cpu_hooks:too_slow")


def _finished(hook: str) -> Callable[[Setup], Case]:
    return lambda setup: _at(setup, finish=hook)


def _injection(
    code: str | tuple[str, ...],
    make: Callable[[Setup], Case],
    *about: str,
    models: tuple[str, ...] = _SMALL,
    beside: Callable[[], AbstractContextManager[None]] | None = None,
) -> Injection:
    expected = (code,) if isinstance(code, str) else code
    injection = Injection(expected, make, about=about, models=models)
    return injection if beside is None else replace(injection, beside=beside)


CPU: dict[str, Injection] = {
    # More wants the cores than there is, and a higher priority brings them back; or stalls coincide with others.
    "neighbour": _injection(
        ("FP012", "FP015"), _at, "nice", "neighbours", "preempted", models=_MEDIUM, beside=busy_neighbour
    ),
    "low priority": _injection("FP012", _at, "nice", models=_MEDIUM, beside=low_priority),
    "python preparation": _injection(
        "FP011", lambda setup: _at(setup, prepare_hook="injections:python_heavy"), "prepare"
    ),
    # All pictures take long to decode, those of some types far longer (FP017).
    "slow decoding": _injection(
        ("FP011", "FP017"), lambda setup: _at(setup, videos=(heavy_video(setup.folder),)), "decode"
    ),
    "threads x 4": _injection(
        "FP012",
        lambda setup: _at(setup, threads=4 * len(usable_cores()), spinning=True),
        "threads",
        models=_MEDIUM,
    ),
    # As many threads as there are cores, by number: by default the library takes all cores of the machine, also those
    # that this process may not use, on which other repetitions run.
    "spinning": _injection(
        "FP013", lambda setup: _at(setup, threads=len(usable_cores()), spinning=True), models=_MEDIUM
    ),
    "garbage": _injection("FP015", _finished("injections:garbage"), "gc"),
    # The faults are the hook's own and come with every frame: no outliers, but a stage that takes long.
    "page faults": _injection("FP011", _finished("injections:fresh_memory"), "finish"),
    "slow hook on some frames": _injection("FP017", _finished("cpu_hooks:crowded"), "finish"),
    "sink that stalls": _injection("FP024", _finished("cpu_hooks:written"), "finish", beside=stalling_reader),
    "lock of another thread": _injection("FP024", _finished("cpu_hooks:locked"), "finish", beside=lock_holder),
    # Two workers whose Python excludes each other: the preparation itself is as true as the lock.
    "interpreter lock": _injection(
        ("FP014", "FP011"),
        lambda setup: _loaded(setup, Closed(concurrency=2), workers=2, prepare_hook="injections:python_heavy"),
        "prepare",
    ),
    "live source, nothing dropped": _injection("FP021", _live, beside=lambda: camera(_port())),
    "batches that never fill": _injection("FP019", lambda setup: _at(setup, batch=4, window_ms=25)),
    "sixteen in flight": _injection("FP018", lambda setup: _loaded(setup, Closed(concurrency=16))),
    "bursts": _injection("FP018", lambda setup: _loaded(setup, Burst(fps=30, size=6))),
    "quota of half a core": _injection(
        "FP027", lambda setup: _at(setup, wait="spin"), models=_MEDIUM, beside=partial(cpu_quota, _QUOTA_CORES)
    ),
    "too few threads": _injection("FP020", _few_threads, models=_MEDIUM),
    # Reading ahead takes the decoding away; that decoding takes long is as true.
    "decoding in the loop": _injection(
        ("FP022", "FP011", "FP017"),
        lambda setup: _loaded(setup, Closed(concurrency=1), videos=(heavy_video(setup.folder),)),
        "decode",
    ),
    # The worker spins through the gap: a core that sleeps in it is a cause by itself (FP002), which many machines have.
    "nothing": Healthy((), lambda setup: _at(setup, wait="spin"), models=_SMALL),
}
