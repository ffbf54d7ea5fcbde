"""What `framepace serve` costs and carries, beside the bare runtime and other servers, driven by wrk.

    python bench/serving.py                 own CPU time per request, throughput, overload; rounds are interleaved
    python bench/serving.py --rounds 1 --seconds 1
    python bench/serving.py --only framepace,Mosec

Three rounds take some 10 minutes; `--only` chooses servers, 'cost' or 'overload' by the beginnings of their names. The
client is wrk, which is neither theirs nor ours (tools/peers.sh fetches it and the peers). All servers run the same file
on the same two cores, with two workers of one thread each; the client shares these cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
from common import parser_of, show
from serving_wrk import Load, Wrk, multipart

from framepace.models.builtin import model_bytes

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "tests" / "programs" / "peers"
MODEL = "classifier@160x160"  # about 1.3 ms on one core
PICTURE = np.zeros((1, 3, 160, 160), np.float32)
NULL = "classifier@112x112"  # 150,528 bytes, and no inference
NULL_BYTES = 3 * 112 * 112 * 4
CONNECTIONS = (2, 8, 16, 32)
P99_MS = 50.0
OVERLOAD = 400  # connections that together ask for more than a server carries, however it answers
SHARES = (1.5, 3.0)  # of what is carried by a model that computes elsewhere, so that the client has cores to ask
_START_S = 90.0


@dataclass(frozen=True)
class Subject:
    """A server: its command for a model and a port, and how it is asked."""

    name: str
    command: Callable[[str, int], Sequence[str]]
    load: Callable[[int], Load]


def framepace(*settings: str) -> Callable[[str, int], Sequence[str]]:
    """The command of a server with these options, for a model and a port."""

    def command(model: str, port: int) -> Sequence[str]:
        common = ("--set", "threads=1", "--set", "spinning=off", "--grpc-port", "-1", "--port", str(port))
        return [sys.executable, "-m", "framepace", "serve", model, *common, *settings]

    return command


def _peer(cache: Path, name: str, environment: str = "peers") -> Callable[[str, int], Sequence[str]]:
    program = str(PEERS / f"{name}_app.py")
    return lambda model, port: [str(cache / environment / "bin" / "python"), program, model, str(port)]


def _raw(path: str, body: bytes, **headers: str) -> Callable[[int], Load]:
    return lambda port: Load(f"http://127.0.0.1:{port}{path}", body, headers)


def subjects(cache: Path) -> list[Subject]:
    """framepace's server and its peers."""
    body = PICTURE.tobytes()
    form, kind = multipart("picture", body)
    ours = {"Inference-Header-Content-Length": "0"}  # the body is the only input
    workers = ("--set", "workers=2")
    stream = {"Content-Type": "application/octet-stream"}
    found = [
        Subject("framepace", framepace(*workers), _raw("/v2/models/m/infer", body, **ours)),
        Subject("Mosec 0.9.8", _peer(cache, "mosec"), _raw("/inference", body)),
        Subject("LitServe 0.2.19", _peer(cache, "litserve"), _raw("/infer", form, **{"Content-Type": kind})),
        Subject("FastAPI, naive", _peer(cache, "fastapi"), _raw("/infer", body)),
    ]
    apart = {
        "bentoml": ("BentoML 1.4.40", _raw("/infer", body, **stream)),
        "rayserve": ("Ray Serve 2.60.0", _raw("/", body, **stream)),
        "pytriton": ("PyTriton 0.7.0", _raw("/v2/models/m/infer", body, **ours)),
    }
    there = [(name, row) for name, row in apart.items() if (cache / f"{name}.done").exists()]
    return [*found, *(Subject(title, _peer(cache, name, name), load) for name, (title, load) in there)]


@contextmanager
def running(command: Sequence[str], load: Load) -> Iterator[psutil.Process]:
    """A server that answers."""
    with tempfile.TemporaryFile() as log:
        unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1"}
        # In a session of its own: Ctrl-C is for the bench, which then ends the server.
        process = psutil.Popen(list(command), stdout=log, stderr=log, env=unbuffered, start_new_session=True)
        try:
            _wait(process, load, log)
            yield process
        finally:
            _end(process)


def _wait(process: psutil.Popen, load: Load, log: Any) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        request = urllib.request.Request(load.url, load.body, dict(load.headers))
        with suppress(OSError, urllib.error.URLError), urllib.request.urlopen(request, timeout=5):
            return
        time.sleep(0.1)
    log.seek(0)
    raise SystemExit(f"it did not start: {log.read()[-2000:].decode(errors='replace')}")


def _end(process: psutil.Popen) -> None:
    family = [process, *process.children(recursive=True)]
    process.terminate()
    psutil.wait_procs(family, timeout=8)
    for one in family:
        with suppress(psutil.NoSuchProcess):
            one.kill()


def cpu_s(process: psutil.Process) -> float:
    """CPU time of a server and its processes."""
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def cost_us(process: psutil.Process, wrk: Wrk, load: Load, seconds: int) -> float:
    """CPU time of the server per request, us; one connection."""
    wrk.run(load, 1, 1)
    before = cpu_s(process)
    done = wrk.run(load, 1, seconds)
    return (cpu_s(process) - before) / max(1, done.answered) * 1e6


def own_cost(wrk: Wrk, seconds: int, rounds: int) -> Mapping[str, float]:
    """What a request of 150 kB costs, by the way its tensor travels, us; the best of the rounds."""
    path = f"/v2/models/{NULL}/infer"
    body = Load(f"http://127.0.0.1:18700{path}", bytes(NULL_BYTES), {"Inference-Header-Content-Length": "0"})
    null = ("--backend", "null", "--set", "option.latency_us=0")
    other = Load("http://127.0.0.1:18701/", bytes(NULL_BYTES), {})
    ways: dict[str, list[float]] = {"HTTP": [], "shared memory": [], "HTTP, a bare uvicorn app": []}
    with (
        running(framepace(*null)(f"builtin:{NULL}", 18700), body) as process,
        running([sys.executable, str(PEERS / "uvicorn_app.py"), "-", "18701"], other) as uvicorn,
        shared_load(18700, path) as shared,
    ):
        for _ in range(rounds):
            ways["HTTP"].append(cost_us(process, wrk, body, seconds))
            ways["shared memory"].append(cost_us(process, wrk, shared, seconds))
            ways["HTTP, a bare uvicorn app"].append(cost_us(uvicorn, wrk, other, seconds))
    return {name: min(costs) for name, costs in ways.items()}


@contextmanager
def shared_load(port: int, path: str) -> Iterator[Load]:
    """A load whose tensors lie in registered shared memory."""
    key = f"framepace-bench-{os.getpid()}"
    file = Path("/dev/shm") / key
    file.write_bytes(bytes(NULL_BYTES + 400))
    place = {"shared_memory_region": "bench", "shared_memory_byte_size": NULL_BYTES}
    where = {"shared_memory_region": "bench", "shared_memory_byte_size": 400, "shared_memory_offset": NULL_BYTES}
    tensor = {"name": "images", "datatype": "FP32", "shape": [1, 3, 112, 112], "parameters": place}
    document = {"inputs": [tensor], "outputs": [{"name": "y0", "parameters": where}]}
    register = json.dumps({"key": key, "byte_size": NULL_BYTES + 400}).encode()
    try:
        address = f"http://127.0.0.1:{port}"
        urllib.request.urlopen(f"{address}/v2/systemsharedmemory/region/bench/register", register).close()
        yield Load(address + path, json.dumps(document).encode(), {})
    finally:
        file.unlink(missing_ok=True)


def bare(model: str, seconds: int) -> float:
    """Inferences per second of two threads with the runtime alone."""
    program = f"""
import threading, time
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 1
sessions = [ort.InferenceSession({model!r}, options) for _ in range(2)]
x = np.zeros({PICTURE.shape}, np.float32)
counts = [0, 0]
end = time.monotonic() + {seconds}
def work(i):
    while time.monotonic() < end:
        sessions[i].run(None, {{"images": x}})
        counts[i] += 1
threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
[t.start() for t in threads]
[t.join() for t in threads]
print(sum(counts) / {seconds})
"""
    return float(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)


def best(wrk: Wrk, load: Load, seconds: int, limit_ms: float = P99_MS) -> tuple[float, float]:
    """The highest throughput at a p99 within the limit, and that p99 in ms."""
    highest = (0.0, 0.0)
    for connections in CONNECTIONS:
        done = wrk.run(load, connections, seconds)
        if done.p99_ms <= limit_ms and done.per_second > highest[0]:
            highest = (done.per_second, done.p99_ms)
    return highest


def overload(load: Load, capacity: float, share: float = 1.5) -> Load:
    """So much of what a server carries, each request with a deadline; connections pause to keep that rate."""
    pause_ms = OVERLOAD / (share * max(capacity, 1.0)) * 1000 - P99_MS / 2
    return replace(load.within(P99_MS), pause_ms=max(0.0, pause_ms))


def elsewhere(wrk: Wrk, seconds: int, rounds: int) -> list[tuple[float, ...]]:
    """What framepace carries of a model that takes 2 ms elsewhere, and its answers in time at the shares of that.

    Each round: per second, then for each share what was asked and what was answered in time, as shares of it.
    """
    path = f"/v2/models/{NULL}/infer"
    load = Load(f"http://127.0.0.1:18702{path}", bytes(NULL_BYTES), {"Inference-Header-Content-Length": "0"})
    null = ("--backend", "null", "--set", "option.latency_us=2000", "--set", "option.cpu=sleep")
    measured = []
    with running(framepace(*null)(f"builtin:{NULL}", 18702), load):
        for _ in range(rounds):
            carried = max(wrk.run(load, connections, seconds).per_second for connections in (2, 4, 8))
            row = [carried]
            for share in SHARES:
                done = wrk.run(overload(load, carried, share), OVERLOAD, seconds)
                row += [done.asked_per_second / carried, done.in_time_per_second / carried]
            measured.append(tuple(row))
    return measured


def peers() -> Path:
    """The folder of the client and the peers. Ends with a sentence where they cannot be had."""
    fetched = subprocess.run(["sh", str(ROOT / "tools" / "peers.sh")], stdout=subprocess.PIPE, text=True)
    if fetched.returncode:
        sys.exit(1)
    return Path(fetched.stdout.strip())


def _arguments() -> Any:
    """The options, of which `only` is a list of beginnings of names; all by default."""
    parser = parser_of(str(__doc__), rounds=3, seconds=2)
    parser.add_argument("--only", default="", help="beginnings of what is measured, with commas between")
    args = parser.parse_args()
    args.only = tuple(args.only.lower().split(","))
    return args


def main() -> None:
    """Measure and print."""
    args = _arguments()
    cache = peers()
    wrk = Wrk(cache / "wrk" / "run")
    load_before = os.getloadavg()[0]
    rows: list[dict[str, Any]] = []
    if "cost".startswith(args.only):
        rows += _cost_rows(own_cost(wrk, args.seconds, args.rounds))
    if "overload".startswith(args.only):
        rows += _overload_rows(elsewhere(wrk, args.seconds, args.rounds))
    servers = [server for server in subjects(cache) if server.name.lower().startswith(args.only)]
    measured: dict[str, list[Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "m.onnx"
        model.write_bytes(model_bytes(MODEL))
        if servers:
            measured = _rounds(servers, wrk, str(model), args)
            rows += _rows(measured)
    show("serving", args, rows, load=(load_before, os.getloadavg()[0]), measured=measured)


def _rounds(servers: Sequence[Subject], wrk: Wrk, model: str, args: Any) -> dict[str, list[Any]]:
    """By server: (throughput, p99, requests per second under overload, answers in time of these) of each round."""
    rng = np.random.default_rng(args.seed)
    measured: dict[str, list[Any]] = {"bare runtime": [], **{server.name: [] for server in servers}}
    for number in range(args.rounds):
        measured["bare runtime"].append((bare(model, args.seconds), 0.0, 0.0, 0.0))
        for place in rng.permutation(len(servers)):
            server = servers[place]
            print(f"round {number + 1}: {server.name}", file=sys.stderr, flush=True)
            load = server.load(18800 + int(place))
            with running(server.command(model, 18800 + int(place)), load):
                throughput = best(wrk, load, args.seconds)
                over = wrk.run(overload(load, throughput[0]), OVERLOAD, args.seconds)
            measured[server.name].append((*throughput, over.asked_per_second, over.in_time_per_second))
    return measured


def _overload_rows(measured: Sequence[tuple[float, ...]]) -> Iterator[dict[str, Any]]:
    for place, share in enumerate(SHARES):
        asked = median(row[1 + 2 * place] for row in measured)
        in_time = median(row[2 + 2 * place] for row in measured)
        what = f"asked {asked:.0%} (meant: {share:.0%}) of a model elsewhere, 2 ms: framepace"
        got = f"{in_time:.0%} in 50 ms"
        yield {"what": what, "got": got, "goal": "90 %", "met": in_time >= 0.9}


def _cost_rows(costs: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    goals = {"HTTP": 170.0, "shared memory": 100.0}
    for name, cost in costs.items():
        row: dict[str, Any] = {"what": f"own CPU per request, 150 kB by {name}", "got": f"{cost:.0f} us"}
        if name in goals:
            row |= {"goal": f"{goals[name]:.0f} us", "met": cost <= goals[name]}
        yield row


def _rows(measured: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    bare_rate = median(row[0] for row in measured["bare runtime"])
    for name, rows in measured.items():
        rate = median(row[0] for row in rows)
        p99 = median(row[1] for row in rows)
        got = f"{rate:.0f}/s, p99 {p99:.1f} ms"
        yield {"what": f"throughput at p99 <= 50 ms: {name}", "got": got, "goal": f"{rate / bare_rate:.0%} of bare"}
    for name, rows in measured.items():
        if name == "bare runtime":
            continue
        in_time = median(row[3] for row in rows)
        share = median(row[3] / max(row[0], 1.0) for row in rows)
        what = f"asked {median(row[2] / max(row[0], 1.0) for row in rows):.0%} of that: {name}"
        yield {"what": what, "got": f"{in_time:.0f}/s in 50 ms", "goal": f"{share:.0%} of its own"}


if __name__ == "__main__":
    main()
