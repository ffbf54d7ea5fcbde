"""What the doctor says of the GPU's video decoder."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

from framepace.doctoring.gpu import DriverState, judge_gpus
from framepace.facts.check import Check
from framepace.recording.gpu import GpuStatus, gpu_statuses
from framepace.testing import make_machine
from tests.doubles.machines import BUS, CUDA, GPU
from tests.doubles.nvml import BUSY, ScriptedNvml


def checks(container: str | None = None, **state: Any) -> dict[str, Check]:
    """The checks of a machine with one GPU, by name."""
    machine = make_machine(gpus=(GPU,), container=container)
    found = judge_gpus(machine, DriverState(cuda=(12, 4), **state), CUDA)
    return {check.name: check for check in found}


def test_a_driver_without_its_video_library_is_told_with_the_way_out_of_a_container() -> None:
    """Containers get it only where they ask for it; outside of one there is no command."""
    inside = checks("docker", decodes=False)["GPU video decoding"]
    assert inside.state == "warn"
    assert "NVIDIA_DRIVER_CAPABILITIES" in str(inside.fix)
    assert checks(decodes=False)["GPU video decoding"].fix is None
    assert "GPU video decoding" not in checks()


def test_who_decodes_is_named() -> None:
    """How busy the decoders are, and which processes let them work; nothing where they rest."""
    busy = GpuStatus(decoder=41, decoding=((77, "python", 38),))
    assert checks(status={BUS: busy})["GPU video decoder"].found == "41 % busy: python (77, 38 %)"
    assert "GPU video decoder" not in checks(status={BUS: GpuStatus(decoder=0)})


def test_the_samples_of_nvml_name_the_processes_that_decode() -> None:
    """The latest sample of each counts; those that decode nothing are left out."""
    pid = os.getpid()
    samples = [
        SimpleNamespace(pid=pid, decUtil=10),
        SimpleNamespace(pid=1, decUtil=0),
        SimpleNamespace(pid=pid, decUtil=38),
    ]
    answers = {**BUSY, "nvmlDeviceGetDecoderUtilization": [41, 1000], "nvmlDeviceGetProcessUtilization": samples}
    status = gpu_statuses(ScriptedNvml({BUS: answers}))[BUS]
    assert status.decoder == 41
    assert [(who, share) for who, _, share in status.decoding] == [(pid, 38)]
