"""Converters made quiet: what they print and log is not shown, what they stumble over is a sentence."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from framepace.errors import FramepaceError, ModelError

QUANTISED = ("Conv", "ConvTranspose", "MatMul", "Gemm")  # operators that INT8 takes
_ALTERNATIVE = "another precision, or a backend that converts by itself (tensorrt 10, torch)"
# What the calibrator says, what it means, and what to do.
_CALIBRATOR: Mapping[str, tuple[str, str]] = {
    "Too many bins for data range": (
        "a tensor that hardly varies, of which no histogram can be made",
        "--set calibration-method=minmax, which needs none",
    ),
    "Histogram has not been collected": (
        f"no float node that INT8 takes ({', '.join(QUANTISED)})",
        "leave it in FP32: nothing in it would get faster",
    ),
}
_NO_LOG = 4  # severity: what fails comes as an exception too


@contextlib.contextmanager
def quietly(name: str, precision: str) -> Iterator[Path]:
    """A folder for the converter's files; its chatter is not shown, its failures are ModelErrors."""
    with tempfile.TemporaryDirectory(prefix="framepace-") as folder, _quiet():
        try:
            yield Path(folder)
        except FramepaceError:
            raise
        except Exception as error:  # the converter raises what it stumbles over
            got = " ".join(str(error).split()) or type(error).__name__
            for reason, (meaning, fix) in _CALIBRATOR.items():
                if reason in got:
                    raise ModelError(f"model {name!r} cannot be calibrated", got=meaning, fix=fix) from error
            raise ModelError(f"model {name!r} cannot be converted to {precision}", got=got, fix=_ALTERNATIVE) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Converters print and log what no user of ours asked for."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(_NO_LOG)
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
