"""A model behind PyTriton, two instances: `python pytriton_app.py MODEL PORT`."""

import os
import sys
import sysconfig

import numpy as np
import onnxruntime as ort
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

# Triton's interpreter needs the library of this one, not another of the same version.
os.environ["LD_LIBRARY_PATH"] = sysconfig.get_config_var("LIBDIR")
options = ort.SessionOptions()
options.intra_op_num_threads = 1


class Classifier:
    """One instance."""

    def __init__(self) -> None:
        self.session = ort.InferenceSession(sys.argv[1], options)

    @batch
    def infer(self, **inputs: np.ndarray) -> list[np.ndarray]:
        """One inference."""
        return self.session.run(None, inputs)


if __name__ == "__main__":
    port = int(sys.argv[2])
    first = Classifier()
    tensor = first.session.get_inputs()[0]
    config = TritonConfig(
        http_port=port, grpc_port=port + 1000, metrics_port=port + 2000, http_address="127.0.0.1", log_verbose=0
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="m",
            infer_func=[first.infer, Classifier().infer],
            inputs=[Tensor(name=tensor.name, dtype=np.float32, shape=tuple(tensor.shape[1:]))],
            outputs=[Tensor(name=first.session.get_outputs()[0].name, dtype=np.float32, shape=(-1,))],
            config=ModelConfig(max_batch_size=1, batching=True),
        )
        triton.serve()
