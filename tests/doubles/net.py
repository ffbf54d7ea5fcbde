"""A network of one kernel on a scripted device, under the worker of all GPU backends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from framepace.backends.deviceworker import DeviceWorker, Produced, Slot
from framepace.errors import BackendError
from framepace.facts.model import TensorSpec
from framepace.facts.plan import Batching, ModelPlan
from framepace.models.spec import Resolved
from framepace.testing import FakeClock
from tests.doubles.device import ScriptedDevice
from tests.doubles.engine import MS

BATCH = 4
X = TensorSpec(name="x", dtype="float32", shape=(BATCH, 2))
Y = TensorSpec(name="y", dtype="float32", shape=(BATCH, 2))
TABLE = TensorSpec(name="table", dtype="float32", shape=(3,))


class Net:
    """A worker whose kernels take `compute` ns and double their input; `fail_at` names a launch that fails."""

    def __init__(
        self,
        clock: FakeClock,
        compute: int = 5 * MS,
        produced: bool = False,
        own_graph: bool = False,
        refused: str = "",
        **plan: Any,
    ) -> None:
        self.device = ScriptedDevice(clock, upload_ns=2 * MS, download_ns=MS, room=plan.pop("room", 1 << 30))
        self.device.refused = refused
        self.compute, self.launches, self.fail_at, self.produced = compute, 0, -1, produced
        self.plan = ModelPlan(name="m", model="m.onnx", **{"batch": Batching(max=BATCH), **plan})
        inputs = Resolved((X, TABLE), None, frozenset({"x"}))
        outputs = () if produced else (Y,)
        self.notes: list[str] = []
        self.worker = DeviceWorker(
            self.device,
            self.plan,
            inputs,
            outputs,
            self.launch,
            capture=self.device.capture if self.plan.graph else None,
            own_graph=own_graph,
            side_by_side=self.plan.stream == "slot" and not own_graph,
            sizes=self.plan.batch.sizes,
            tell=self.notes.append,
        )

    def launch(self, index: int, slot: Slot, count: int, stream: Any) -> Mapping[str, Produced] | None:
        """Double x."""
        self.launches += 1
        if self.launches - 1 == self.fail_at:
            raise BackendError("launch failed")
        x = self.device.addresses[slot.pointers["x"]].view(np.float32)
        if not self.produced:
            y = self.device.addresses[slot.pointers["y"]].view(np.float32)
            stream.run(self.compute, lambda: np.multiply(2, x, out=y))
            return None
        made = np.zeros(count * 2, np.float32)
        stream.run(self.compute, lambda: np.multiply(2, x[: count * 2], out=made))
        self.device.addresses[id(made)] = made.view(np.uint8)
        return {"y": Produced(id(made), (count, 2), "float32", made)}
