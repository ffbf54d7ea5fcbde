"""decode=gpu and prepare-place=device on a GPU: the host's pictures, and the host's answers, for every library."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from framepace.backends.base import get_backend
from framepace.clock.system import SystemClock
from framepace.devices.cuda import lock_setup
from framepace.errors import UsageError
from framepace.facts.plan import Batching, ModelPlan, Prepare
from framepace.models.filling import input_filler
from framepace.video.device.decoder import accelerator, has_library
from framepace.video.frame import Frame
from framepace.video.source import open_source
from tests.gpus import gpu, missing

MODEL = "builtin:classifier@96x64"
BACKENDS = ("onnxruntime", "torch", "tensorrt")
pytestmark = gpu


def decodes() -> bool:
    """Whether this GPU's decoder can be used."""
    try:
        return has_library() and accelerator(0) is not None
    except UsageError:
        return False


def pictures(on_gpu: bool) -> list[Any]:
    """The first pictures of the synthetic video."""
    source = open_source("synthetic", size=(144, 256), gpu=0 if on_gpu else None)
    read = [source.read() for _ in range(6)]
    source.close()
    return read


def answers(plan: ModelPlan, frames: list[Any]) -> NDArray[Any]:
    """The outputs of the model for the pictures, in batches, by each slot in turn."""
    session = get_backend(plan.backend).load(plan, SystemClock())
    with lock_setup():
        worker = session.worker()
        write = worker.preparer(plan) or input_filler(plan, session.resolved)
        worker.prime()
    outputs = []
    for turn, first in enumerate(range(0, len(frames), 2)):
        slot = turn % worker.slots
        for place, picture in enumerate(frames[first : first + 2]):
            write(Frame(0, 0, 0, 0, 0, 0, 0, picture), worker.staging(slot), place)
        worker.enqueue(slot, 2)
        outputs.append(np.array(next(iter(worker.wait(slot).values()))[:2]))
        assert (worker.times(slot).paint > 0) == (plan.prepare.place == "device")  # type: ignore[union-attr]
    worker.close()
    session.close()
    return np.concatenate(outputs)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("changes", [{}, {"graph": True}, {"slots": 1}, {"transfer": "pageable"}], ids=str)
@pytest.mark.parametrize("on_gpu", [False, True], ids=["decoded on the host", "decoded on the GPU"])
def test_answers_are_those_of_pictures_prepared_on_the_host(
    backend: str, changes: dict[str, Any], on_gpu: bool
) -> None:
    """Within what one level of 255 in some pixels changes; and twice the same."""
    reason = missing(backend, "cuda")
    if reason is not None:
        pytest.skip(reason)
    if on_gpu and not decodes():
        pytest.skip("the GPU's video decoder cannot be used")
    plain = ModelPlan(name="m", model=MODEL, backend=backend, device="cuda", batch=Batching(max=2))
    device = ModelPlan(
        name="m",
        model=MODEL,
        backend=backend,
        device="cuda",
        batch=Batching(max=2),
        prepare=Prepare(place="device"),
        **changes,
    )
    expected = answers(plain, pictures(False))
    got = answers(device, pictures(on_gpu))
    assert np.abs(got - expected).max() <= 0.02 * np.abs(expected).max()
    np.testing.assert_allclose(answers(device, pictures(on_gpu)), got, rtol=1e-4, atol=1e-5)


def test_a_video_that_is_decoded_on_the_gpu_after_others_took_its_context() -> None:
    """FFmpeg shares the primary context with what was there first, and gives the host's pictures."""
    if not decodes():
        pytest.skip("the GPU's video decoder cannot be used")
    from framepace.devices.cuda import open_device

    device = open_device("cuda")
    for one, other in zip(pictures(True), pictures(False), strict=True):
        if one.format.name != "cuda":
            pytest.skip("this GPU does not decode MPEG-4")
        here = one.to_ndarray(format="rgb24").astype(int)
        assert np.abs(here - other.to_ndarray(format="rgb24")).mean() < 3
    device.close()
