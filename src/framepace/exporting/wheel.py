"""The framepace that runs here as a wheel, so that an image has the same: no registry and no checkout are needed."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from framepace.errors import StoreError

_NAME = "framepace"
_WHEEL = b"Wheel-Version: 1.0\nGenerator: framepace\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_KEPT = ("METADATA", "entry_points.txt")
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # of the ZIP format: the same files give the same wheel
_LEFT_OUT = ("__pycache__",)


def wheel() -> tuple[str, bytes]:
    """The file name and the content of a wheel of this framepace. Raises StoreError where it was not installed."""
    try:
        installed = distribution(_NAME)
    except PackageNotFoundError as error:
        fix = "pip install . in its checkout"
        raise StoreError("framepace is not installed, so that no wheel of it can be made", fix=fix) from error
    info = f"{_NAME}-{installed.version}.dist-info"
    files = {**dict(_package()), **_information(installed, info)}
    return f"{_NAME}-{installed.version}-py3-none-any.whl", _packed(files, f"{info}/RECORD")


def constraints() -> str:
    """A line per package that framepace needs and that is installed here, with its version: 'numpy==2.3.4'."""
    names = sorted({_name_of(line) for line in distribution(_NAME).requires or ()})
    return "".join(f"{name}=={version}\n" for name in names if (version := _version(name)))


def _name_of(requirement: str) -> str:
    return requirement.partition(";")[0].split("[")[0].rstrip(" 0123456789.,<>=!~").strip()


def _version(name: str) -> str:
    """The installed version without what is built for one machine alone ('+cpu'); '' where it is not installed."""
    try:
        return distribution(name).version.partition("+")[0]
    except PackageNotFoundError:
        return ""


def _package() -> Iterator[tuple[str, bytes]]:
    """The package's files by their names in a wheel."""
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*")):
        if path.is_file() and not any(part in _LEFT_OUT for part in path.parts):
            yield f"{_NAME}/{path.relative_to(root).as_posix()}", path.read_bytes()


def _information(installed: Distribution, info: str) -> dict[str, bytes]:
    texts = {name: installed.read_text(name) or "" for name in _KEPT}
    return {f"{info}/{name}": text.encode() for name, text in texts.items()} | {f"{info}/WHEEL": _WHEEL}


def _packed(files: Mapping[str, bytes], record: str) -> bytes:
    """The ZIP file, with a line for each file in its record."""
    lines = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in files.items()]
    whole = {**files, record: "\n".join([*lines, f"{record},,", ""]).encode()}
    out = BytesIO()
    with ZipFile(out, "w", ZIP_DEFLATED) as archive:
        for name, data in whole.items():
            archive.writestr(ZipInfo(name, _EARLIEST), data, ZIP_DEFLATED)
    return out.getvalue()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
