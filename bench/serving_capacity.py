"""What `framepace capacity` says of a server beside what Triton's perf_analyzer measures of it, in pairs.

    python bench/serving_capacity.py                     3 pairs, some 20 minutes
    python bench/serving_capacity.py --pairs 1 --seconds 10

The model takes 10 ms elsewhere than on this CPU, twice at the same time: 200 requests/s. Both ask for one p99,
--p99-ms, 50 by default.
tools/triton.sh fetches perf_analyzer.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from common import options, show
from serving import ROOT, running
from serving_wrk import Load

PORT = 18790
URL = f"http://127.0.0.1:{PORT}"
FPS = 5  # per camera: the steps of both searches
LOWEST = 100  # requests/s that perf_analyzer begins with
_BODY = bytes(3 * 64 * 64 * 4)
_RATE = re.compile(r"^Request Rate: ([\d.]+), throughput: ([\d.]+) infer/sec, latency (\d+) usec", re.MULTILINE)


def server_command() -> list[str]:
    """`framepace serve` with the model 'null'."""
    null = ["--backend", "null", "--set", "option.latency_us=10000", "--set", "option.cpu=sleep"]
    where = ["--set", "workers=2", "--port", str(PORT), "--grpc-port", "-1"]
    return [sys.executable, "-m", "framepace", "serve", "null", *null, *where]


def by_capacity(seconds: int, p99_ms: int) -> float:
    """Requests/s that `framepace capacity` says it carries."""
    load = ["--fps", str(FPS), "--p99-ms", str(p99_ms), "--scope", "pipeline", "--seconds", str(seconds)]
    command = [sys.executable, "-m", "framepace", "capacity", "null", "--server", URL, *load, "--time-limit", "300"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([*command, "--json", "--out", f"{folder}/c"], capture_output=True, text=True)
    document: dict[str, Any] = json.loads(done.stdout)
    return float(document["cameras"] * FPS)


def by_perf_analyzer(program: Path, seconds: int, p99_ms: int) -> float:
    """Requests/s of the highest rate, in the same steps, up to which it was within the limit."""
    rates = [
        "--request-rate-range",
        f"{LOWEST}:300:{FPS}",
        "--binary-search",
        "--request-distribution",
        "constant",
        "-a",
    ]
    limits = ["--percentile", "99", "-l", str(p99_ms), "-r", "3", "-s", "999", "-p", str(seconds * 1000 // 3)]
    command = [str(program), "-m", "null", "-u", URL.removeprefix("http://"), *rates, *limits, "--max-threads", "8"]
    done = subprocess.run(command, capture_output=True, text=True)
    held = [float(rate) for rate, _, us in _RATE.findall(done.stdout) if int(us) <= p99_ms * 1000]
    return max(held, default=0.0)


def main() -> None:
    """Measure and print."""
    args = options(str(__doc__), pairs=3, seconds=12, p99_ms=50)
    fetched = subprocess.run(["sh", str(ROOT / "tools" / "triton.sh"), "perf"], stdout=subprocess.PIPE, text=True)
    if fetched.returncode:
        sys.exit(1)
    program = Path(fetched.stdout.strip()) / "perf" / "perf_analyzer"
    load = Load(f"{URL}/v2/models/null/infer", _BODY, {"Inference-Header-Content-Length": "0"})
    pairs = []
    with running(server_command(), load):
        for number in range(args.pairs):
            ours = by_capacity(args.seconds, args.p99_ms)
            theirs = by_perf_analyzer(program, args.seconds, args.p99_ms)
            pairs.append((ours, theirs))
            print(
                f"pair {number + 1}: capacity {ours:.0f}/s, perf_analyzer {theirs:.0f}/s", file=sys.stderr, flush=True
            )
    ratio = median(ours / max(theirs, 1.0) for ours, theirs in pairs)
    row = {"what": "capacity over perf_analyzer, requests/s", "got": f"{ratio:.2f}", "goal": "0.90 to 1.10"}
    show("serving_capacity", args, [{**row, "met": 0.9 <= ratio <= 1.1}], pairs=pairs)


if __name__ == "__main__":
    main()
