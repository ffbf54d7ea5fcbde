"""Lower precision put into an ONNX file, by ONNX Runtime's own converters.

FP16 by onnxruntime.transformers.float16: weights and activations in float16, inputs and outputs as they were, the
operators that lose too much in it left alone. INT8 by onnxruntime.quantization: Q/DQ pairs, symmetric int8, weights per
channel, no quantised bias, which is what TensorRT takes.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from framepace.errors import FramepaceError, ModelError

_ALTERNATIVE = "another precision, or a backend that converts by itself (tensorrt, torch)"


def versions() -> tuple[str, str]:
    """Versions of the converters: another one may convert differently."""
    import onnx
    import onnxruntime

    return onnx.__version__, onnxruntime.__version__


def to_fp16(proto: Any, name: str) -> Any:
    """The model in float16, with inputs and outputs in their own dtypes. Raises ModelError."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    try:
        with _quiet():
            return convert_float_to_float16(proto, keep_io_types=True)
    except Exception as error:  # the converter raises what it stumbles over
        got = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"model {name!r} cannot be converted to FP16", got=got, fix=_ALTERNATIVE) from error


def to_int8(proto: Any, frames: Iterator[dict[str, Any]], name: str) -> Any:
    """The model with Q/DQ pairs around what runs in int8, calibrated on `frames` (inputs by name).

    Raises ModelError.
    """
    import onnx
    from onnxruntime import quantization

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.onnx", Path(folder) / "int8.onnx"
        try:
            with _quiet():
                quantization.quant_pre_process(proto, source, skip_symbolic_shape=True)
                quantization.quantize_static(
                    source,
                    target,
                    _reader(quantization, frames),
                    quant_format=quantization.QuantFormat.QDQ,
                    op_types_to_quantize=["Conv", "MatMul", "Gemm", "Add", "MaxPool", "AveragePool"],
                    per_channel=True,
                    activation_type=quantization.QuantType.QInt8,
                    weight_type=quantization.QuantType.QInt8,
                    extra_options={
                        "ActivationSymmetric": True,
                        "WeightSymmetric": True,
                        "QuantizeBias": False,
                        "AddQDQPairToWeight": True,
                        "DedicatedQDQPair": False,
                    },
                )
            return onnx.load(target)
        except FramepaceError:
            raise
        except Exception as error:  # as above
            got = " ".join(str(error).split()) or type(error).__name__
            raise ModelError(f"model {name!r} cannot be quantised", got=got, fix=_ALTERNATIVE) from error


def _reader(quantization: Any, frames: Iterator[dict[str, Any]]) -> Any:
    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            return next(frames, None)

    return Reader()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Converters print and log what no user of ours asked for."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(None):
            yield
    finally:
        logging.disable(before)
