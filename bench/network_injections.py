"""Causes on exported networks of torchvision, for `bench/injected.py --device networks --networks FOLDER`.

What is right follows from how a case is made: batches that only arithmetic can fill, a network of small kernels without
a graph, a hook or a video that takes longer than the network; or nothing at all. `bench/network_exports.py` makes the
files.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from injections import Healthy, Injection, Setup, busy_neighbour, heavy_video
from msgspec.structs import replace

from framepace import api
from framepace.analyze.stages import stages
from framepace.cases import make_case
from framepace.facts.settings import Case
from framepace.facts.workload import Stop

# Back to back the power limit may hold the clock down: as true as the arithmetic. The others are ways out of it.
_ARITHMETIC = ("FP008", "FP004", "FP007", "FP028", "FP029")
_KERNELS = ("FP005", "FP023")
_FULL = ("resnet18", "convnext_tiny", "vit_b_16", "swin_t", "densenet121", "swin_v2_t")
_SMALL = ("mobilenet_v3_large", "efficientnet_b0", "densenet121", "shufflenet_v2_x1_0", "squeezenet1_1")
_PACED = ("resnet18", "vit_b_16", "mobilenet_v3_large")
_BATCH = 64
_WINDOW_MS = 50.0  # longer than decoding a batch takes, and within the budget: all of them fill
_TINY = (32, 32)
_ROOM = 1.6  # budget over inference
_ALONE_S = 0.5
_LIMIT_S = 16.0  # a GPU's time is dear
_SLOW_S = 0.012


def slow(model: str, outputs: Any, frame: int) -> None:
    """A finish hook that computes for longer than any of the networks."""
    until = time.perf_counter() + _SLOW_S
    while time.perf_counter() < until:
        pass


def _paced(network: str, setup: Setup, videos: tuple[str, ...] = (), **settings: Any) -> Case:
    """The network at 30 fps."""
    changes = {name.replace("_", "-"): value for name, value in settings.items()}
    return make_case(setup.network(network), fps=30, videos=videos, settings={**_plain(setup), **changes})


def _packed(network: str, setup: Setup) -> Case:
    """The network back to back in full batches, its inputs on the device, of pictures that decode in no time.

    The budget leaves time to fill a batch, and no more: with less, batches go before they are full.
    """
    case = _alone(network, setup, batch=_BATCH, window_ms=_WINDOW_MS, buffer=_BATCH)
    case = replace(case, workload=replace(case.workload, input=replace(case.workload.input, size=_TINY)))
    inference_ms = float(np.median(stages(api.bench(case).measured())["infer"])) / 1e6
    target = replace(case.plan.target, p99_ms=_ROOM * inference_ms)
    return replace(case, plan=replace(case.plan, target=target))


def _alone(network: str, setup: Setup, **settings: Any) -> Case:
    """The network back to back, its inputs on the device."""
    changes = {name.replace("_", "-"): value for name, value in settings.items()}
    changes = {**_plain(setup), "transfer": "device", "prepare-constant": True, **changes}
    stop = Stop(seconds=_ALONE_S)
    return make_case(setup.network(network), fps=None, p99_ms=1.0, scope="model", settings=changes, stop=stop)


def _plain(setup: Setup) -> dict[str, Any]:
    return {"backend": setup.backend, "device": "cuda", **{f"option.{key}": v for key, v in setup.options.items()}}


def _decoded(setup: Setup) -> Case:
    return _paced("resnet18", setup, (heavy_video(setup.folder),))


def _injection(expected: tuple[str, ...], make: Callable[[Setup], Case], *about: str, beside: Any = None) -> Injection:
    case = Injection(expected, make, about=about, limit=_LIMIT_S)
    return case if beside is None else dataclasses.replace(case, beside=beside)


def _on_each_network() -> dict[str, Injection]:
    """The cases by name."""
    cases = {}
    for name in _FULL:
        cases[f"{name}, batch {_BATCH}"] = _injection(_ARITHMETIC, partial(_packed, name))
    for name in _SMALL:
        cases[f"{name}, batch 1"] = _injection(_KERNELS, partial(_alone, name))
    for name in _PACED:
        prepared = partial(_paced, name, prepare_hook="injections:python_heavy")
        finished = partial(_paced, name, finish="network_injections:slow")
        cases[f"{name}, Python preparation"] = _injection(("FP011",), prepared, "prepare")
        cases[f"{name}, slow finish"] = _injection(("FP011",), finished, "finish")
        cases[f"{name}, nothing"] = Healthy((), partial(_paced, name), limit=_LIMIT_S)
    return cases


NETWORKS: dict[str, Injection] = {
    **_on_each_network(),
    "resnet18, slow decoding": _injection(("FP011", "FP017", "FP022"), _decoded, "decode"),
    "efficientnet_b0, neighbours": _injection(
        ("FP012", "FP015"), partial(_paced, "efficientnet_b0"), "nice", "neighbours", "preempted", beside=busy_neighbour
    ),
}
