"""The protocol with KServe's own client: `python client.py HTTP_PORT GRPC_PORT`; the model adds and subtracts."""

import asyncio
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig


def request(binary: bool) -> InferRequest:
    """Two inputs, as numbers or as bytes."""
    inputs = []
    for name, value in (("INPUT0", 3.0), ("INPUT1", 1.0)):
        tensor = InferInput(name, [1, 4], "FP32")
        tensor.set_data_from_numpy(np.full((1, 4), value, np.float32), binary_data=binary)
        inputs.append(tensor)
    return InferRequest(model_name="simple", infer_inputs=inputs)


def check(response) -> None:
    """The sum and the difference."""
    got = {output.name: output.as_numpy().ravel().tolist() for output in response.outputs}
    assert got == {"OUTPUT0": [4.0] * 4, "OUTPUT1": [2.0] * 4}, got


async def main() -> None:
    """Health, metadata and inference over HTTP and gRPC."""
    url = f"http://127.0.0.1:{sys.argv[1]}"
    rest = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await rest.is_server_live(url)
    assert await rest.is_server_ready(url)
    assert await rest.is_model_ready(url, "simple")
    for binary in (False, True):
        check(await rest.infer(url, request(binary), model_name="simple"))
    await rest.close()
    grpc = InferenceGRPCClient(f"127.0.0.1:{sys.argv[2]}")
    assert await grpc.is_server_live()
    assert await grpc.is_server_ready()
    assert await grpc.is_model_ready("simple")
    for binary in (False, True):
        check(await grpc.infer(request(binary)))
    await grpc.close()
    print("PASS")


asyncio.run(main())
