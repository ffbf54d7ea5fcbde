"""What people do with tritonclient by gRPC; ends with an error where an answer is wrong. Run: python FILE HOST:PORT"""

import asyncio
import queue
import sys

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.grpc.aio as grpc_aio
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException

ADDRESS = sys.argv[1]
A = np.arange(16, dtype=np.int32)[None]
B = np.ones((1, 16), np.int32)
COUNT = 30


def inputs():
    """Both inputs of the model."""
    tensors = [grpc.InferInput(name, [1, 16], "INT32") for name in ("INPUT0", "INPUT1")]
    for tensor, values in zip(tensors, (A, B), strict=True):
        tensor.set_data_from_numpy(values)
    return tensors


def check(result, what):
    """Both answers are right."""
    assert (result.as_numpy("OUTPUT0") == A + B).all(), what
    assert (result.as_numpy("OUTPUT1") == A - B).all(), what


def refused(call, *words):
    """The call fails with one of these words."""
    message = ""
    try:
        call()
    except InferenceServerException as error:
        message = str(error)
    if not any(word in message for word in words):
        raise AssertionError(f"{message!r}: none of {words}")


def questions(client):
    """Health, metadata, configuration, index, statistics."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("simple", "1")
    assert [t.name for t in client.get_model_metadata("simple").outputs] == ["OUTPUT0", "OUTPUT1"]
    assert client.get_model_config("simple", as_json=True)["config"]["max_batch_size"] == 8
    assert "simple" in {model.name for model in client.get_model_repository_index().models}
    assert client.get_inference_statistics("simple").model_stats[0].name == "simple"
    assert "statistics" in client.get_server_metadata().extensions


def inferences(client):
    """One after the other, compressed, as numbers, asynchronous, as classes."""
    check(client.infer("simple", inputs()), "infer")
    outputs = [grpc.InferRequestedOutput("OUTPUT1")]
    result = client.infer("simple", inputs(), outputs=outputs, request_id="7", priority=1, timeout=10_000_000)
    assert (result.as_numpy("OUTPUT1") == A - B).all()
    assert result.as_numpy("OUTPUT0") is None
    assert result.get_response().id == "7"
    answers = queue.Queue()
    for _ in range(COUNT):
        client.async_infer("simple", inputs(), lambda result, error: answers.put((result, error)))
    for _ in range(COUNT):
        result, error = answers.get(timeout=20)
        assert error is None, error
        check(result, "async")


def stream(client):
    """A stream answers every request, also after a wrong one."""
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(COUNT):
        client.async_stream_infer("simple", inputs(), request_id=str(number))
    ids = []
    for _ in range(COUNT):
        result, error = answers.get(timeout=20)
        assert error is None, error
        check(result, "stream")
        ids.append(result.get_response().id)
    assert sorted(map(int, ids)) == list(range(COUNT)), ids
    client.async_stream_infer("nix", inputs())
    result, error = answers.get(timeout=20)
    assert result is None, result
    assert "unknown model" in str(error), error
    client.async_stream_infer("simple", inputs())
    assert answers.get(timeout=20)[1] is None
    client.stop_stream()


def errors(client):
    """What is wrong is told in the words that clients look for."""
    refused(
        lambda: client.infer("nix", inputs()), "[StatusCode.NOT_FOUND] Request for unknown model: 'nix' is not found"
    )
    refused(lambda: client.infer("simple", inputs()[:1]), "[StatusCode.INVALID_ARGUMENT]")


def shared_memory(client):
    """Inputs and outputs in shared memory, and what was forgotten is unknown."""
    client.unregister_system_shared_memory()
    regions = {name: shm.create_shared_memory_region(name, f"/fp_grpc_{name}", 128) for name in ("ins", "outs")}
    try:
        shm.set_shared_memory_region(regions["ins"], [A, B])
        for name in regions:
            client.register_system_shared_memory(name, f"/fp_grpc_{name}", 128)
        assert set(client.get_system_shared_memory_status().regions) == {"ins", "outs"}
        tensors = [grpc.InferInput(name, [1, 16], "INT32") for name in ("INPUT0", "INPUT1")]
        outputs = [grpc.InferRequestedOutput(name) for name in ("OUTPUT0", "OUTPUT1")]
        for place, (tensor, output) in enumerate(zip(tensors, outputs, strict=True)):
            tensor.set_shared_memory("ins", 64, offset=64 * place)
            output.set_shared_memory("outs", 64, offset=64 * place)
        client.infer("simple", tensors, outputs=outputs)
        assert (shm.get_contents_as_numpy(regions["outs"], np.int32, [1, 16]) == A + B).all()
        mixed = client.infer("simple", [tensors[0], inputs()[1]])
        check(mixed, "one input in shared memory")
    finally:
        client.unregister_system_shared_memory()
        for region in regions.values():
            shm.destroy_shared_memory_region(region)


async def concurrently():
    """Coroutines side by side."""
    async with grpc_aio.InferenceServerClient(ADDRESS) as client:
        assert await client.is_server_ready()
        for result in await asyncio.gather(*(client.infer("simple", inputs()) for _ in range(COUNT))):
            check(result, "aio")

        async def requests():
            """Requests of a stream."""
            for number in range(5):
                yield {"model_name": "simple", "inputs": inputs(), "request_id": str(number)}

        async for result, error in client.stream_infer(requests()):
            assert error is None, error
            check(result, "aio stream")


with grpc.InferenceServerClient(ADDRESS) as one:
    for part in (questions, inferences, stream, errors, shared_memory):
        part(one)
asyncio.run(concurrently())
print("PASS")
