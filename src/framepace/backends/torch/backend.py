"""PyTorch: exported programs, TorchScript and the built-in networks, on a GPU or the CPU.

What a model file may and may not do: see framepace.models.torch.file.

Settings of PyTorch that hold for the whole process are set when a model is loaded, and set back when the next one does
not name them: the number of threads, TF32, the search of cuDNN. Of two models in one process the later one decides.

Low precision is autocast: operators that lose nothing run in fp16 or bf16, the others in fp32. Weights of convolutions
and matrix products are converted once, when the model is loaded; inputs and outputs keep their dtype.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from msgspec.structs import replace

from framepace.backends.base import Backend, Session
from framepace.backends.options import checked
from framepace.backends.torch.cuda import CudaSession
from framepace.backends.torch.session import CpuSession
from framepace.clock.system import Clock
from framepace.errors import UsageError
from framepace.facts.base import Fact
from framepace.facts.plan import ModelPlan
from framepace.progress import Tell

OPTIONS: Mapping[str, str] = {
    "channels_last": "keep pictures and weights of convolutions in the NHWC layout (true or false)",
    "compile": "torch.compile the model when it is loaded (true or false)",
    "compile_mode": "of torch.compile: default or max-autotune-no-cudagraphs",
    "tf32": "let float32 products run in TF32 (true or false; PyTorch's own: convolutions only)",
    "cudnn_benchmark": "let cuDNN try its convolution algorithms on each new shape (true or false)",
}


class _Options(Fact, frozen=True, kw_only=True):
    channels_last: bool = False
    compile: bool = False
    # The other modes bring their own CUDA graphs, one for all threads: `graph` does that here.
    compile_mode: Literal["default", "max-autotune-no-cudagraphs"] = "default"
    tf32: bool = False
    cudnn_benchmark: bool = False


class TorchBackend(Backend):
    """PyTorch with CUDA or on the CPU; CUDA first where it can be used."""

    name = "torch"
    options = OPTIONS
    side_by_side = True

    def __init__(self) -> None:
        self.devices = ("cpu", "cuda")
        if torch.cuda.is_available():
            self.devices = ("cuda", "cpu")

    def takes(self, location: str) -> bool:
        """See Backend: built-in models are made of PyTorch's own layers."""
        return location.startswith("builtin:") or not location.endswith(".onnx")

    def _load(self, model: ModelPlan, clock: Clock, tell: Tell) -> Session:
        kind = self.device_of(model).partition(":")[0]
        if model.precision == "int8":
            fix = "use the backend onnxruntime or tensorrt, or a model that is quantised already"
            raise UsageError("the backend torch does not quantise", got="int8", expected="fp32, fp16, bf16", fix=fix)
        plan = replace(model, options=checked(self.name, _Options, model.options))
        if kind == "cuda":
            return CudaSession(plan, tell)
        return CpuSession(plan, tell)

    def batch_sizes(self, model: ModelPlan) -> tuple[int, ...]:
        """See Backend: on a GPU cuDNN's plans are made for each size, by each thread (PyTorch's Conv_v8.cpp)."""
        if self.device_of(model) == "cpu":
            return ()
        return model.batch.prepared_sizes

    def versions(self) -> dict[str, str]:
        """Version of PyTorch, and of the CUDA that it was built for."""
        versions = {"torch": str(torch.__version__)}
        if torch.version.cuda:
            versions["cuda"] = torch.version.cuda
        return versions
