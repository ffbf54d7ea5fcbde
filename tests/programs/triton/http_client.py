"""What people do with tritonclient by HTTP; ends with an error where an answer is wrong. Run: python FILE HOST:PORT"""

import asyncio
import sys

import numpy as np
import tritonclient.http as http
import tritonclient.http.aio as http_aio
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException

ADDRESS = sys.argv[1]
A = np.arange(16, dtype=np.int32)[None]
B = np.ones((1, 16), np.int32)


def inputs(module=http, binary=True):
    """Both inputs of the model."""
    tensors = [module.InferInput(name, [1, 16], "INT32") for name in ("INPUT0", "INPUT1")]
    for tensor, values in zip(tensors, (A, B), strict=True):
        tensor.set_data_from_numpy(values, binary_data=binary)
    return tensors


def wanted(module=http, binary=True):
    """Both outputs, as bytes or as numbers."""
    return [module.InferRequestedOutput(name, binary_data=binary) for name in ("OUTPUT0", "OUTPUT1")]


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
    assert client.is_model_ready("simple")
    assert not client.is_model_ready("nix")
    assert {"binary_tensor_data", "statistics"} <= set(client.get_server_metadata()["extensions"])
    assert [t["name"] for t in client.get_model_metadata("simple")["inputs"]] == ["INPUT0", "INPUT1"]
    assert client.get_model_config("simple")["max_batch_size"] == 8
    assert any(model["name"] == "simple" for model in client.get_model_repository_index())
    before = client.get_inference_statistics("simple")["model_stats"][0]["inference_count"]
    client.infer("simple", inputs())
    assert client.get_inference_statistics("simple")["model_stats"][0]["inference_count"] == before + 1


def inferences(client):
    """One after the other, compressed, as numbers, asynchronous, as classes."""
    for binary in (True, False):
        check(client.infer("simple", inputs(binary=binary), outputs=wanted(binary=binary)), f"binary {binary}")
    check(client.infer("simple", inputs(), model_version="1", request_id="7"), "without outputs")
    assert client.infer("simple", inputs(), request_id="7").get_response()["id"] == "7"
    for algorithm in ("gzip", "deflate"):
        result = client.infer(
            "simple", inputs(), request_compression_algorithm=algorithm, response_compression_algorithm=algorithm
        )
        check(result, algorithm)
    for handle in [client.async_infer("simple", inputs(), outputs=wanted()) for _ in range(20)]:
        check(handle.get_result(), "async")
    classes = client.infer("simple", inputs(), outputs=[http.InferRequestedOutput("OUTPUT0", class_count=3)])
    values = [text.decode().split(":") for text in classes.as_numpy("OUTPUT0").ravel()]
    assert [int(index) for _, index in values] == [15, 14, 13], values


def texts(client):
    """Texts and bytes come back as they were."""
    for values in (["", "a", "zwei", "ü"], [b"\x00\x01", b"", b"x" * 1000, b"end"]):
        array = np.array([values], dtype=object)
        tensor = http.InferInput("INPUT0", [1, 4], "BYTES")
        tensor.set_data_from_numpy(array)
        answer = client.infer("identity_BYTES", [tensor]).as_numpy("OUTPUT0").ravel().tolist()
        assert answer == [v.encode() if isinstance(v, str) else v for v in values], answer


def errors(client):
    """What is wrong is told in the words that clients look for."""
    refused(lambda: client.infer("nix", inputs()), "Request for unknown model: 'nix' is not found")
    refused(lambda: client.infer("simple", inputs()[:1]), "expected 2 inputs but got 1")
    wrong = http.InferInput("INPUT0", [1, 8], "INT32")
    wrong.set_data_from_numpy(A[:, :8])
    refused(lambda: client.infer("simple", [wrong, inputs()[1]]), "unexpected shape for input 'INPUT0'")
    outputs = [http.InferRequestedOutput("NIX")]
    refused(lambda: client.infer("simple", inputs(), outputs=outputs), "unexpected inference output 'NIX'")


def shared_memory(client):
    """Inputs and outputs in shared memory, and what was forgotten is unknown."""
    client.unregister_system_shared_memory()
    regions = {name: shm.create_shared_memory_region(name, f"/fp_http_{name}", 128) for name in ("ins", "outs")}
    try:
        shm.set_shared_memory_region(regions["ins"], [A, B])
        for name in regions:
            client.register_system_shared_memory(name, f"/fp_http_{name}", 128)
        assert {region["name"] for region in client.get_system_shared_memory_status()} == {"ins", "outs"}
        tensors = [http.InferInput(name, [1, 16], "INT32") for name in ("INPUT0", "INPUT1")]
        outputs = [http.InferRequestedOutput(name) for name in ("OUTPUT0", "OUTPUT1")]
        for place, (tensor, output) in enumerate(zip(tensors, outputs, strict=True)):
            tensor.set_shared_memory("ins", 64, offset=64 * place)
            output.set_shared_memory("outs", 64, offset=64 * place)
        for _ in range(5):
            client.infer("simple", tensors, outputs=outputs)
        assert (shm.get_contents_as_numpy(regions["outs"], np.int32, [1, 16]) == A + B).all()
        assert (shm.get_contents_as_numpy(regions["outs"], np.int32, [1, 16], offset=64) == A - B).all()
        client.unregister_system_shared_memory("ins")
        refused(lambda: client.infer("simple", tensors, outputs=outputs), "Unable to find shared memory region")
    finally:
        client.unregister_system_shared_memory()
        for region in regions.values():
            shm.destroy_shared_memory_region(region)


async def concurrently():
    """Coroutines side by side."""
    async with http_aio.InferenceServerClient(ADDRESS) as client:
        assert await client.is_server_ready()
        for result in await asyncio.gather(*(client.infer("simple", inputs(http_aio)) for _ in range(20))):
            check(result, "aio")
        assert (await client.get_model_metadata("simple"))["name"] == "simple"
        assert (await client.get_model_config("simple"))["name"] == "simple"
        statistics = (await client.get_inference_statistics("simple"))["model_stats"]
        assert statistics[0]["inference_stats"]["success"]["count"] >= 20, statistics
        assert any(model["name"] == "simple" for model in await client.get_model_repository_index())


with http.InferenceServerClient(ADDRESS, concurrency=4) as one:
    for part in (questions, inferences, texts, errors, shared_memory):
        part(one)
asyncio.run(concurrently())
print("PASS")
