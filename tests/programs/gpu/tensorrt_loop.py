"""A network in TensorRT on each picture of a camera that gives one 20 ms after the last answer.

python tensorrt_loop.py MODEL.onnx cuda|build       # the engine is built once, beside the model
"""

import contextlib
import os
import sys
import time

import numpy as np
import tensorrt as trt

try:
    from cuda.bindings import runtime as cudart
except ImportError:
    from cuda import cudart


def build(path: str, out: str) -> None:
    """An engine in FP32, as the first pages of TensorRT show it."""
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse_from_file(path), parser.get_error(0)
    config = builder.create_builder_config()
    if trt.__version__ < "9":  # without cuBLAS and cuDNN beside it
        sources = (trt.TacticSource.EDGE_MASK_CONVOLUTIONS, trt.TacticSource.JIT_CONVOLUTIONS)
        config.set_tactic_sources(sum(1 << int(source) for source in sources))
    profile = builder.create_optimization_profile()
    profile.set_shape(network.get_input(0).name, *[(1, 3, 192, 320)] * 3)
    config.add_optimization_profile(profile)
    with open(out, "wb") as file:
        file.write(builder.build_serialized_network(network, config))


def checked(answer: tuple) -> object:
    """What a call of CUDA gives beside its error."""
    error, *values = answer
    assert int(error) == 0, error
    return values[0] if values else None


engine_path = sys.argv[1] + ".engine"
if not os.path.exists(engine_path):
    build(sys.argv[1], engine_path)
if sys.argv[2] == "build":
    sys.exit()
runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
with open(engine_path, "rb") as engine_file:
    engine = runtime.deserialize_cuda_engine(engine_file.read())
context = engine.create_execution_context()
stream = int(checked(cudart.cudaStreamCreate()))
to_device = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
to_host = cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
pixels = np.random.default_rng(0).random((1, 3, 192, 320), np.float32)
names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
context.set_input_shape(names[0], pixels.shape)
arrays = {name: np.empty(tuple(context.get_tensor_shape(name)), np.float32) for name in names[1:]}
arrays[names[0]] = pixels
memory = {name: checked(cudart.cudaMalloc(arrays[name].nbytes)) for name in names}
for name in names:
    context.set_tensor_address(name, int(memory[name]))
with contextlib.suppress(KeyboardInterrupt):
    while True:
        checked(cudart.cudaMemcpyAsync(memory[names[0]], pixels.ctypes.data, pixels.nbytes, to_device, stream))
        assert context.execute_async_v3(stream)
        for name in names[1:]:
            array = arrays[name]
            checked(cudart.cudaMemcpyAsync(array.ctypes.data, memory[name], array.nbytes, to_host, stream))
        checked(cudart.cudaStreamSynchronize(stream))
        best = max(float(arrays[name].max()) for name in names[1:])
        time.sleep(0.02)
