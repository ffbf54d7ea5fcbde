"""The video decoder of a GPU, through PyAV: pictures stay in its memory."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

from framepace.errors import UsageError

_ON_HOST = "--set decode=thread decodes on the host"


_AT_ONCE = 4  # decoders that are made: the driver makes one after the other, and whoever waits has a time limit
_MAKING = threading.BoundedSemaphore(_AT_ONCE)
_HELD: list[Any] = []  # a hold on the context of each GPU: making it anew for every video takes long
_LIBRARY = "libnvcuvid.so.1"  # of the driver
_DRIVER = "libcuda.so.1"
_BLOCKING_SYNC = 4  # CU_CTX_SCHED_BLOCKING_SYNC
_DECODED: set[tuple[str, str]] = set()  # codecs and pixel formats that a GPU of this process took
_ON_HOST_AS = {"nv12": "yuv420p", "p010le": "yuv420p10le", "p016le": "yuv420p12le"}


def has_library() -> bool:
    """Whether the driver's library for video decoding is here; nothing of the GPU is touched."""
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        return False
    return True


@lru_cache
def accelerator(gpu: int) -> Any:
    """What makes PyAV decode on that GPU (CUDA's number), for `av.open(hwaccel=...)`.

    Pictures are in the memory of the device's primary context, which all CUDA libraries of a process share. Each is a
    copy of the decoder's surface, so that however many are held, the decoder does not run out of them.

    Raises UsageError where PyAV or the driver cannot.
    """
    import av
    from av.codec.hwaccel import HWAccel

    if not hasattr(av.VideoFrame, "sw_format"):  # what a picture on a device is there: PyAV 18
        fix = f"pip install 'av>=18.0'; {_ON_HOST}"
        raise UsageError("this PyAV does not say what pictures on a GPU are", got=f"av {av.__version__}", fix=fix)
    accel = HWAccel("cuda", device=str(gpu), is_hw_owned=True)
    _share_context(gpu)
    try:
        _HELD.append(accel.create(av.Codec("h264", "r")))
    except (av.FFmpegError, NotImplementedError) as error:
        got = f"cuda:{gpu}: {getattr(error, 'strerror', None) or error}"
        fix = f"`framepace doctor` says what is missing; {_ON_HOST}"
        raise UsageError("decode=gpu needs an NVIDIA GPU and its driver", got=got, fix=fix) from error
    return accel


def options(gpu: int | None) -> dict[str, Any]:
    """What `av.open` is given for a decoder: that of the GPU, or nothing for the host's."""
    if gpu is None:
        return {}
    _share_context(gpu)
    return {"hwaccel": accelerator(gpu)}


def _share_context(gpu: int) -> None:
    """Let FFmpeg take the primary context of a GPU that others in this process use already.

    It refuses one that waits in another way than its own would (libavutil/hwcontext_cuda.c, cuda_context_init: 'Primary
    context already active with incompatible flags'), and others leave that to the driver. The flags of an active
    context may be changed (CUDA runtime API, cudaSetDeviceFlags); how our own events are waited for is theirs to say.
    """
    try:
        driver = ctypes.CDLL(_DRIVER)
        device = ctypes.c_int()
        if driver.cuInit(0) == 0 and driver.cuDeviceGet(ctypes.byref(device), gpu) == 0:
            driver.cuDevicePrimaryCtxSetFlags_v2(device, ctypes.c_uint(_BLOCKING_SYNC))
    except (OSError, AttributeError):  # no driver, or one before CUDA 11: the decoder will say so
        return


def turn(gpu: int | None) -> AbstractContextManager[object]:
    """Held while a decoder of the GPU is made; nothing for the host's."""
    return nullcontext() if gpu is None else _MAKING


def fallen_back(stream: Any, frame: Any) -> str:
    """A sentence where the GPU was to decode a stream and its first picture is on the host all the same; else ''."""
    codec = stream.codec_context.name
    if frame.format.name == "cuda":
        _DECODED.add((codec, frame.sw_format.name))
        return ""
    kind = f"{codec} of {frame.format.name}, {frame.width}x{frame.height}"
    if (codec, frame.format.name) in _planar(_DECODED):
        return f"decoded on the host: the GPU has no room for one more decoder of {kind}"
    return f"decoded on the host: the GPU does not decode {kind}"


def _planar(kinds: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """The kinds by the names that the host's decoder has for the same pixels."""
    return {(codec, _ON_HOST_AS.get(pixels, pixels)) for codec, pixels in kinds}
