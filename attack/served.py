"""Fuzzed requests to `framepace serve`, over HTTP and gRPC: it may refuse anything, and must go on answering rightly.

    python -m attack.served --count 200000            all of it, some minutes
    python -m attack.served --count 200000 --part 1/8  a share that can run beside others

Exit code 1 when the server died, answered 500, answered a right request wrongly, or kept a request or memory.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from attack.servedmodel import TEXTS, write_models
from framepace.openinference.protos import message

_GRPC_SHARE = 0.1
_EVERY = 500  # requests between two checks
_WAIT_S = 0.03  # for an answer; then the client goes, as clients do
_MOST_GROWTH = 1.3
_WARM = 5000  # requests before memory is looked at
_BAD = frozenset({500})


@dataclass
class Attack:
    """A server under attack, and what it did."""

    http: int
    grpc: int
    random: random.Random
    statuses: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def note(self, status: str, sent: bytes) -> None:
        """Count an answer; keep the request whose answer is a failure."""
        self.statuses[status] += 1
        if status in {str(code) for code in _BAD} and len(self.findings) < 20:
            self.findings.append(f"{status} for {sent[:300]!r}")

    def check(self) -> None:
        """A right request is answered rightly."""
        data = [float(self.random.randrange(100)) for _ in range(4)]
        tensors = [{"name": n, "datatype": "FP32", "shape": [1, 4], "data": data} for n in ("INPUT0", "INPUT1")]
        body = json.dumps({"inputs": tensors}).encode()
        url = f"http://127.0.0.1:{self.http}/v2/models/simple/infer"
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=20) as answer:
            outputs = {output["name"]: output["data"] for output in json.load(answer)["outputs"]}
        if outputs != {"OUTPUT0": [2 * value for value in data], "OUTPUT1": [0.0] * 4}:
            self.findings.append(f"a wrong answer: {outputs}")


@contextmanager
def server(folder: Path) -> Iterator[tuple[psutil.Process, int, int]]:
    """`framepace serve` of two small models, and its ports."""
    plan = write_models(folder)
    limits = ("--max-body-mb", "1", "--max-json-mb", "1", "--max-waiting", "100")
    command = [sys.executable, "-m", "framepace", "serve", plan, "--port", "0", "--grpc-port", "0", "--json", *limits]
    with psutil.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        document = json.loads(process.stdout.readline())
        try:
            yield process, int(document["HTTP"].rpartition(":")[2]), int(document["gRPC"].rpartition(":")[2])
        finally:
            process.terminate()
            with suppress(psutil.TimeoutExpired):
                process.wait(20)
            if process.is_running():
                process.kill()


def _tensor(draw: random.Random) -> dict[str, Any]:
    """An input with one thing or none wrong."""
    tensor: dict[str, Any] = {"name": "INPUT0", "datatype": "FP32", "shape": [1, 4], "data": [1.0, 2.0, 3.0, 4.0]}
    wrong: dict[str, list[Any]] = {
        "name": ["", "INPUT1", None, 3, "x" * 5000, "\u0000"],
        "datatype": ["BYTES", "INT8", "FP16", "FP4", None, []],
        "shape": [
            [-1, 4],
            [1 << 62, 4],
            [1 << 62, 1 << 62],
            [0, 4],
            [],
            [1] * 300,
            "1",
            [1.5],
            [None],
            [True, 4],
            [10**30],
        ],
        "data": [[], [[1, 2], [3]], ["a"] * 4, [1e400], [None] * 4, {}, [10**400] * 4, [[[[1, 2, 3, 4]]]], [True] * 4],
        "parameters": [{"binary_data_size": size} for size in (0, 16, -1, 1 << 62, "x")]
        + [{"shared_memory_region": "r", "shared_memory_byte_size": 16}, [], {"a": {"b": []}}],
    }
    for _ in range(draw.randrange(3)):
        key = draw.choice(list(wrong))
        tensor[key] = draw.choice(wrong[key])
    if draw.random() < 0.1:
        del tensor[draw.choice(list(tensor))]
    return tensor


def _document(draw: random.Random) -> Any:
    document: dict[str, Any] = {"inputs": [_tensor(draw) for _ in range(draw.choice((1, 2, 2, 2, 3)))]}
    if len(document["inputs"]) > 1 and "name" in document["inputs"][1]:
        document["inputs"][1]["name"] = "INPUT1"
    extras: dict[str, list[Any]] = {
        "id": ["1", 7, "x" * 9999, None],
        "outputs": [
            [{"name": "OUTPUT0"}],
            [{"name": "Y"}],
            [{}],
            "x",
            [{"name": "OUTPUT0", "parameters": {"classification": 9}}],
        ],
        "parameters": [
            {"timeout": 1},
            {"priority": -1},
            {"binary_data_output": 1},
            {"triton_x": 1},
            {"sequence_id": 5},
            [],
        ],
    }
    for key in draw.sample(list(extras), draw.randrange(3)):
        document[key] = draw.choice(extras[key])
    return document


def _binary(draw: random.Random) -> tuple[bytes, str]:
    """A body with bytes behind its JSON, and the length header, either of which may lie."""
    size = draw.choice((16, 16, 16, 15, 17, 0, 1 << 40))
    tensors = [
        {"name": name, "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": size}}
        for name in ("INPUT0", "INPUT1")
    ]
    header = json.dumps({"inputs": tensors}).encode()
    body = header + draw.randbytes(draw.choice((32, 32, 31, 0, 100)))
    length = draw.choice((len(header), len(header), len(header), len(header) - 1, 0, -5, 1 << 70))
    return body, draw.choice((str(length), str(length), "x", "", f"{length}.0"))


def _mutated(draw: random.Random, data: bytes) -> bytes:
    """Some bytes changed, removed, doubled or put in."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8, 40))):
        place = draw.randrange(len(changed) + 1)
        kind = draw.randrange(4)
        if kind == 0 and place < len(changed):
            changed[place] = draw.randrange(256)
        elif kind == 1:
            del changed[place : place + draw.randrange(1, 20)]
        elif kind == 2:
            changed[place:place] = draw.choice((b"\r\n", b"\0", b"[" * 200, b'"', b": ", draw.randbytes(5)))
        else:
            changed[place:place] = changed[place : place + 30]
    return bytes(changed)


_PATHS = (
    "/v2/models/simple/infer", "/v2/models/simple/infer", "/v2/models/simple/infer", "/v2/models/texts/infer",
    "/v2/models/simple/versions/9/infer", "/v2/models/%2e%2e/infer", "/v2/models/simple/config", "/v2/repository/index",
    "/v2/models/simple/stats", "/v2/health/ready", "/v2/logging", "/v2/trace/setting", "/metrics", "/v2/nothing",
    "/v2/systemsharedmemory/region/r/register", "/v2/systemsharedmemory/status", "/v2/cudasharedmemory/status",
)  # fmt: skip


def http_request(draw: random.Random) -> bytes:
    """A request: right in form with wrong content, or of bytes that were mutated; some are torn."""
    headers = {"Host": "x"}
    body = json.dumps(_document(draw)).encode()
    if draw.random() < 0.3:
        body, headers["Inference-Header-Content-Length"] = _binary(draw)
    if draw.random() < 0.05:
        body = json.dumps({"inputs": [draw.choice(TEXTS)]}).encode()
    if draw.random() < 0.1:
        body = b"[" * draw.choice((10, 1000, 100_000))
    if draw.random() < 0.3:
        body = _mutated(draw, body)
    if draw.random() < 0.1:
        headers["Content-Encoding"] = draw.choice(("gzip", "deflate", "br", "identity"))
        body = gzip.compress(body) if draw.random() < 0.7 else body
    _add_odd_headers(draw, headers)
    return _with_head(draw, headers, body)


def _add_odd_headers(draw: random.Random, headers: dict[str, str]) -> None:
    odd = {
        "framepace-deadline-ms": ("0.001", "-1", "nan", "1e99", "50"),
        "framepace-timing": ("1",),
        "framepace-client": ("a", "b", "x" * 1000),
        "Accept-Encoding": ("gzip", "deflate;q=0.5", "*;q=x", "gzip;q=nan"),
        "Connection": ("close", "upgrade", "keep-alive"),
        "Upgrade": ("websocket", "h2c"),
        "Expect": ("100-continue",),
    }
    for name in draw.sample(list(odd), draw.choice((0, 0, 1, 2))):
        headers[name] = draw.choice(odd[name])


def _with_head(draw: random.Random, headers: dict[str, str], body: bytes) -> bytes:
    method = draw.choice(("POST", "POST", "POST", "POST", "GET", "PUT", "HEAD", "OPTIONS", "X"))
    length = draw.choice((len(body),) * 6 + (len(body) + 5, max(0, len(body) - 5)))
    if draw.random() < 0.15:
        headers["Transfer-Encoding"] = "chunked"
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in _parts(draw, body)) + b"0\r\n\r\n"
        if draw.random() < 0.2:
            headers["Content-Length"] = str(length)
    else:
        headers["Content-Length"] = str(length)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"{method} {draw.choice(_PATHS)} HTTP/1.1\r\n{lines}\r\n".encode("utf-8", "replace")
    if draw.random() < 0.1:
        head = _mutated(draw, head)
    whole = head + body
    if draw.random() < 0.05:
        return whole[: draw.randrange(len(whole) + 1)]
    return whole


def _parts(draw: random.Random, body: bytes) -> Iterator[bytes]:
    while body:
        size = draw.choice((1, 7, 100, 10_000))
        yield body[:size]
        body = body[size:]


def _send_http(attack: Attack, connection: socket.socket | None) -> socket.socket | None:
    """Send one request on the connection, or a new one; the connection, if it is still good."""
    sent = http_request(attack.random)
    if connection is None:
        connection = socket.create_connection(("127.0.0.1", attack.http), timeout=20)
        connection.settimeout(_WAIT_S)
    try:
        connection.sendall(sent)
        if attack.random.random() < 0.01:  # the client goes before it is answered
            connection.close()
            attack.statuses["gone"] += 1
            return None
        answer = connection.recv(65536)
    except (TimeoutError, OSError) as error:
        attack.statuses["waited" if isinstance(error, TimeoutError) else "closed"] += 1
        connection.close()
        return None
    attack.note(answer[9:12].decode("latin-1") or "closed", sent)
    if b"\r\n\r\n" in answer and b"connection: close" not in answer and answer.count(b"HTTP/1.1") == 1:
        return _drained(connection, answer)
    connection.close()
    return None


def _drained(connection: socket.socket, answer: bytes) -> socket.socket | None:
    """The connection when the whole answer was read."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    try:
        left = int(lengths[0].split(b":")[1]) - len(body) if lengths else 0
        while left > 0:
            left -= len(connection.recv(65536)) or left
    except OSError:
        left = 1
    if left == 0:
        return connection
    connection.close()
    return None


def _grpc_call(attack: Attack) -> Callable[[], None]:
    """A function that sends one mutated message."""
    import grpc

    channel = grpc.insecure_channel(f"127.0.0.1:{attack.grpc}")
    methods = ("ModelInfer",) * 6 + ("ModelMetadata", "RepositoryIndex", "TraceSetting", "LogSettings", "ServerReady")
    calls = {name: channel.unary_unary(f"/inference.GRPCInferenceService/{name}") for name in methods}
    good = message("ModelInferRequest")(model_name="simple")
    for name in ("INPUT0", "INPUT1"):
        good.inputs.add(name=name, datatype="FP32", shape=[1, 4])
        good.raw_input_contents.append(bytes(16))
    data = good.SerializeToString()

    def call() -> None:
        name = attack.random.choice(methods)
        try:
            calls[name](_mutated(attack.random, data), timeout=20)
            attack.statuses["grpc OK"] += 1
        except grpc.RpcError as error:
            code = error.code().name
            attack.statuses[f"grpc {code}"] += 1
            if code in ("UNKNOWN", "INTERNAL") and len(attack.findings) < 20:
                attack.findings.append(f"gRPC {code}: {error.details()}")

    return call


def run(count: int, seed: int) -> Attack:
    """Send `count` requests to a new server."""
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as (process, http, grpc):
        attack = Attack(http, grpc, random.Random(seed))
        call = _grpc_call(attack)
        connection: socket.socket | None = None
        memory = 0
        for number in range(count):
            if attack.random.random() < _GRPC_SHARE:
                call()
            else:
                connection = _send_http(attack, connection)
            if number % _EVERY == 0:
                attack.check()
                if process.poll() is not None:
                    attack.findings.append(f"the server died with {process.returncode}")
                    return attack
            if number == _WARM:
                memory = process.memory_info().rss
        _check_end(attack, process, memory)
    return attack


def _check_end(attack: Attack, process: psutil.Process, memory: int) -> None:
    """Nothing waits, and memory has not grown."""
    time.sleep(1.0)
    attack.check()
    with urllib.request.urlopen(f"http://127.0.0.1:{attack.http}/metrics") as answer:
        pending = [line for line in answer.read().decode().splitlines() if line.startswith("nv_inference_pending")]
    if any(not line.endswith(" 0") for line in pending):
        attack.findings.append(f"requests were kept: {pending}")
    grown = process.memory_info().rss
    attack.statuses["MiB at the end"] = grown >> 20
    if memory and grown > memory * _MOST_GROWTH:
        attack.findings.append(f"memory grew from {memory >> 20} to {grown >> 20} MiB")


def main() -> int:
    """Attack, print the counts, and what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--part", default="1/1", help="a share: 3/8")
    chosen = parser.parse_args()
    part, of = map(int, chosen.part.split("/"))
    attack = run(chosen.count // of, chosen.seed * 1000 + part)
    print(json.dumps(dict(sorted(attack.statuses.items()))))
    for finding in attack.findings:
        print(f"FOUND {finding}")
    return int(bool(attack.findings))


if __name__ == "__main__":
    sys.exit(main())
