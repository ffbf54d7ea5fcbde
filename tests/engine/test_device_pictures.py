"""prepare-place=device through the whole engine, on a device double: the network sees the host's pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from framepace import api
from framepace.backends import base
from framepace.backends.base import Backend, Session, Worker
from framepace.backends.deviceworker import DeviceWorker, Produced, Slot
from framepace.cases import make_case
from framepace.clock.system import Clock
from framepace.errors import UsageError
from framepace.facts.plan import ModelPlan
from framepace.facts.workload import Stop
from framepace.models.spec import inspect, resolve
from framepace.progress import Tell
from framepace.testing import FakeClock
from tests.doubles.device import ScriptedDevice

MODEL = "builtin:classifier@64x48"
SEEN: dict[int, NDArray[Any]] = {}


def collect(model: str, outputs: Mapping[str, NDArray[Any]], frame: int) -> None:
    """A finish hook."""
    SEEN[frame] = np.array(outputs["seen"])


class _Session(Session):
    """A network that returns its input."""

    def __init__(self, model: ModelPlan) -> None:
        file_spec = inspect(model.model)
        self._plan = model
        self.resolved = resolve(file_spec, model)
        self.spec = file_spec

    def output_shapes(self, count: int) -> Mapping[str, Sequence[int]]:
        """See Session."""
        return {"seen": self.resolved.shape_of(self.resolved.inputs[0].name, count)}

    def _worker(self, index: int) -> Worker:
        device = ScriptedDevice(FakeClock(start=1000))
        return DeviceWorker(device, self._plan, self.resolved, (), self._launch, tell=self.note)

    def _launch(self, index: int, slot: Slot, count: int, stream: Any) -> Mapping[str, Produced]:
        tensor = self.resolved.inputs[0]
        shape = self.resolved.shape_of(tensor.name, count)
        return {"seen": Produced(slot.pointers[tensor.name], shape, tensor.dtype)}


class OnDouble(Backend):
    """Networks on a device double."""

    name = "double"
    devices = ("cuda",)

    def _load(self, model: ModelPlan, clock: Clock, tell: Tell) -> Session:
        return _Session(model)


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    base.register(OnDouble)
    yield
    base._registered.pop("double")


def seen(place: str, **settings: Any) -> dict[int, NDArray[Any]]:
    """What the network sees of the first frames of the synthetic video."""
    SEEN.clear()
    hook = "tests.engine.test_device_pictures:collect"
    chosen = {"backend": "double", "prepare-place": place, "finish": hook, "mean": "0.5", "std": "0.25", **settings}
    case = make_case(MODEL, fps=200, stop=Stop(count=8), settings=chosen)
    trace = api.bench(case)
    painted = trace.requests["paint"]
    assert (painted >= 0).all() if place == "device" else (painted < 0).all()
    return dict(SEEN)


@pytest.mark.long
@pytest.mark.parametrize("settings", [{"workers": 2, "slots": 1}, {"batch": 4, "resize": "letterbox"}], ids=str)
def test_the_network_sees_the_pictures_of_the_host(settings: dict[str, Any]) -> None:
    """Frame by frame, within one level of 255."""
    device = seen("device", **settings)
    host = seen("host", **settings)
    common = sorted(device.keys() & host.keys())
    assert len(common) >= 8
    for frame in common:
        assert np.abs(device[frame] - host[frame]).max() <= 1.01 / 255 / 0.25


def test_a_network_on_the_cpu_is_not_prepared_for_on_a_device() -> None:
    """The setting is refused with the way out, before anything is loaded."""
    case = make_case(MODEL, fps=30, stop=Stop(count=2), settings={"prepare-place": "device"})
    with pytest.raises(UsageError, match="setting of a GPU") as raised:
        api.bench(case)
    assert "prepare-place=host" in str(raised.value.fix)
