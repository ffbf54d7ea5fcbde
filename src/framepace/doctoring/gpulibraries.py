"""Libraries that use GPUs: which CUDA they were built for, and which of the libraries they need are missing.

Nothing is imported: it is all in the files of the packages.
"""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from framepace.recording.machine import text

# The first driver for each CUDA (NVIDIA, CUDA Compatibility: minimum driver version).
FIRST_DRIVERS = {11: "450", 12: "525", 13: "580"}
# Variables of CUDA that change what is measured, and why.
CUDA_VARIABLES = {
    "CUDA_LAUNCH_BLOCKING": "the host waits for every kernel, and nothing overlaps",
    "CUDA_VISIBLE_DEVICES": "it selects the GPUs that CUDA sees, and their order",
    "CUDA_DEVICE_ORDER": "it sets the order in which CUDA numbers GPUs",
}
_ROOT = Path("/")
_CUDA_LIBRARIES = re.compile(rb"lib(?:cudart|cublas|cublasLt|cufft|curand|cudnn|nvrtc)\.so\.\d+(?=\0)")
_CUDA_PROVIDER = "capi/libonnxruntime_providers_cuda.so"
_NAMES_END = 16 << 20  # the names of needed libraries stand at the start of a library, before its code
_BUILT_FOR = {
    "onnxruntime": ("capi/build_and_package_info.py", r"^cuda_version\s*=\s*['\"](\d+)\.(\d+)"),
    "torch": ("version.py", r"^cuda\b[^=]*=\s*['\"](\d+)\.(\d+)"),
}
# Packages whose names are not those of their library; of CUDA 13 and later only cuDNN's has the version in its name.
_PACKAGE_NAMES = {"cudart": "cuda-runtime", "cublasLt": "cublas", "nvrtc": "cuda-nvrtc"}


def built_for() -> dict[str, tuple[int, int]]:
    """The CUDA version (major, minor) that each installed library was built for; CPU builds are left out."""
    versions = {}
    for name, (file, pattern) in _BUILT_FOR.items():
        folder = _package_folder(name)
        if folder is None:
            continue
        match = re.search(pattern, text(folder / file) or "", re.MULTILINE)
        if match:
            versions[name] = (int(match[1]), int(match[2]))
    majors = [major for major in FIRST_DRIVERS if _is_installed(f"tensorrt-cu{major}")]
    if majors:
        versions["tensorrt"] = (max(majors), 0)
    return versions


def missing_libraries(root: Path = _ROOT) -> tuple[str, ...]:
    """CUDA libraries that ONNX Runtime's CUDA provider is linked against and that no place has where it looks.

    Those are NVIDIA's packages beside this one, LD_LIBRARY_PATH and the system's cache of libraries.
    """
    needed = _needed_by_provider()
    if not needed:
        return ()
    folders = [Path(path) for path in os.environ.get("LD_LIBRARY_PATH", "").split(":") if path]
    folders += [lib for path in sys.path for lib in Path(path).glob("nvidia/*/lib")]
    cache = _library_cache(root)

    def is_here(name: str) -> bool:
        return name.encode() + b"\0" in cache or any((folder / name).exists() for folder in folders)

    return tuple(name for name in needed if not is_here(name))


def installed_libraries() -> tuple[str, ...]:
    """The libraries that run models on GPUs, beside ONNX Runtime; torch only if it is built for CUDA."""
    names = [name for name in ("cuda-core", "tensorrt", "tensorrt-rtx") if _is_installed(name)]
    if "torch" in built_for() and _is_installed("torch"):
        names.append("torch")
    return tuple(names)


def cuda_variables() -> dict[str, str]:
    """Those of the environment that change what is measured."""
    return {name: os.environ[name] for name in CUDA_VARIABLES if name in os.environ}


def packages(sonames: tuple[str, ...], cuda_major: int) -> list[str]:
    """The packages that bring these libraries ('libcudart.so.12')."""
    stems = [soname.removeprefix("lib").partition(".so")[0] for soname in sonames]
    parts = dict.fromkeys(_PACKAGE_NAMES.get(stem, stem) for stem in stems)
    return [_package(part, cuda_major) for part in parts]


def _package(part: str, cuda_major: int) -> str:
    if cuda_major < 13 or part == "cudnn":
        return f"nvidia-{part}-cu{cuda_major}"
    return f"nvidia-{part}"


def _needed_by_provider() -> list[str]:
    """The CUDA libraries that ONNX Runtime's CUDA provider names; none without the provider."""
    folder = _package_folder("onnxruntime")
    if folder is None or not (folder / _CUDA_PROVIDER).exists():
        return []
    with (folder / _CUDA_PROVIDER).open("rb") as file:
        names = _CUDA_LIBRARIES.findall(file.read(_NAMES_END))
    return list(dict.fromkeys(name.decode() for name in names))


def _library_cache(root: Path) -> bytes:
    """The system's cache of libraries, empty where it has none."""
    path = root / "etc/ld.so.cache"
    if not path.exists():
        return b""
    return path.read_bytes()


def _package_folder(package: str) -> Path | None:
    """Where a package lies, without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.origin:
        return None
    return Path(spec.origin).parent


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True
