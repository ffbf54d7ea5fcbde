"""Would several processes on one port pay? One with two workers against two with one worker each (SO_REUSEPORT).

    python bench/serving_processes.py            5 pairs each of a small and a larger model, some 4 minutes

Both are driven in turn by wrk (tools/peers.sh fetches it).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil
from common import options, show
from serving import cpu_s, peers, running
from serving_wrk import Load, Wrk

from framepace.models.builtin import model_bytes

SIDES = (64, 160)  # of the picture: 0.2 and 1.3 ms of one core
CONNECTIONS = (8, 32)
PORTS = {"one": 18710, "two": 18711}
_SHARED = """
import socket
import framepace.serving.webserver as webserver
from framepace.__main__ import main

def bound_socket(host, port):
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((host, port))
    bound.setblocking(False)
    return bound

webserver.bound_socket = bound_socket
main()
"""


class Measured(NamedTuple):
    """Requests per second, p99 in ms, and CPU time of all servers per request in us."""

    per_second: float
    p99_ms: float
    cost_us: float


def command(model: str, port: int, workers: int, head: Sequence[str]) -> list[str]:
    """A server; `head` runs framepace."""
    settings = ["--set", "threads=1", "--set", "spinning=off", "--set", f"workers={workers}"]
    return [*head, "serve", model, "--port", str(port), "--grpc-port", "-1", *settings]


def measured(wrk: Wrk, load: Load, connections: int, seconds: int, servers: Sequence[psutil.Process]) -> Measured:
    """What the servers of one port do."""
    before = sum(map(cpu_s, servers))
    done = wrk.run(load, connections, seconds)
    return Measured(done.per_second, done.p99_ms, (sum(map(cpu_s, servers)) - before) / max(1, done.answered) * 1e6)


def pairs(wrk: Wrk, side: int, folder: Path, args: Any) -> dict[int, list[Mapping[str, Measured]]]:
    """By connections: what one and two processes did in each pair."""
    model = folder / "m.onnx"
    model.write_bytes(model_bytes(f"classifier@{side}x{side}"))
    shared = folder / "shared.py"
    shared.write_text(_SHARED)
    body = bytes(3 * side * side * 4)
    raw = {"Inference-Header-Content-Length": "0"}
    loads = {name: Load(f"http://127.0.0.1:{port}/v2/models/m/infer", body, raw) for name, port in PORTS.items()}
    found: dict[int, list[Mapping[str, Measured]]] = {connections: [] for connections in CONNECTIONS}
    with ExitStack() as stack:
        one = command(str(model), PORTS["one"], 2, [sys.executable, "-m", "framepace"])
        two = command(str(model), PORTS["two"], 1, [sys.executable, str(shared)])
        servers = {"one": [stack.enter_context(running(one, loads["one"]))]}
        servers["two"] = [stack.enter_context(running(two, loads["two"])) for _ in range(2)]
        for number in range(args.pairs):
            order = sorted(PORTS, reverse=number % 2 == 1)
            for connections in CONNECTIONS:
                found[connections].append(
                    {name: measured(wrk, loads[name], connections, args.seconds, servers[name]) for name in order}
                )
    return found


def main() -> None:
    """Measure and print."""
    args = options(str(__doc__), pairs=5, seconds=2)
    wrk = Wrk(peers() / "wrk" / "run")
    rows = []
    for side in SIDES:
        with tempfile.TemporaryDirectory() as folder:
            for connections, found in pairs(wrk, side, Path(folder), args).items():
                ratios = [
                    median(pair["two"][place] / max(pair["one"][place], 1e-9) for pair in found) for place in range(3)
                ]
                what = f"two processes over one, {side}x{side}, {connections} connections"
                got = "rate {:.2f}, p99 {:.2f}, CPU {:.2f}".format(*ratios)
                rows.append({"what": what, "got": got})
    show("serving_processes", args, rows)


if __name__ == "__main__":
    main()
