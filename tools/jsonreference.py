"""The reference page of the `--json` objects, made from short runs in virtual time."""

from __future__ import annotations

import io
import json
import os
import shlex
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tools.markdown import code, page, shapes, table


def json_page() -> str:
    """The `--json` object of every command: each key with its type and one value."""
    sections = []
    for command, document in json_documents().items():
        rows = [(code(path), kind, example) for path, (kind, example) in shapes(document).items()]
        heading = f"## framepace {command} --json: {document['schema']}\n"
        sections += [heading, table(("key", "type", "for example"), rows)]
    intro = (
        "One object on standard output, everything else on standard error. Keys name their units; a number that JSON "
        "cannot hold is null. A schema's number rises when a key changes its meaning or goes away; new keys may come "
        "at any time. `[]` stands for each item of a list, `*` for each key of a map. The examples are of runs on the "
        "simulated T4; `null` as a type means that the value was absent there."
    )
    return page("`--json`", intro, *sections)


# Run in this order in one folder; the object of each is what its page shows.
JSON_COMMANDS = {
    "bench": "bench builtin:classifier {device} --fps 30 --count 300 --out runs/a",
    "explain": "explain builtin:classifier {device} --fps 30 --set transfer=pageable --expect 3.4ms --from trtexec-10 "
    "--out runs/e",
    "explain log.csv": "explain log.csv --p99-ms 15",
    "explain perf.csv": "explain perf.csv",
    "sweep": "sweep builtin:classifier {device} --scope model --vary batch=1,2 --seconds 1",
    "tune": "tune builtin:classifier {device} --fps 30 --scope model --vary workers=1,2 --time-limit 3 --out runs/t",
    "capacity": "capacity builtin:classifier {device} --fps 30 --max 2",
    "capacity --fleet": "capacity --fleet fleet.yaml --cameras 20",
    "compare": "compare runs/a runs/a",
    "compare perf.csv": "compare perf.csv perf.csv",
    "layers": "layers builtin:classifier {device} --versus precision=fp16",
    "run": "run builtin:classifier --backend null --source door=synthetic --fps 30 --as-fast-as-possible --log off",
    "report": "report runs/a --out report.html",
    "plan show": "plan show runs/t/plan.yaml",
    "export": "export builtin:classifier repository --set batch=4 --set heartbeat-ms=5",
    "plan from-triton": "plan from-triton repository --out back.yaml",
    "doctor": "doctor",
    "settings": "settings",
}
# A log of another program: every 50th frame takes longer after the model.
LOG = "time_s,latency_ms,post_ms,objects\n" + "".join(
    f"{frame / 30:.4f},{9 + 0.1 * (frame % 5) + late:.1f},{1 + late},{3 + late // 4}\n"
    for frame in range(600)
    for late in (11 * (frame % 50 == 7),)
)


FILES = {
    "log.csv": LOG,
    "perf.csv": "Concurrency,Inferences/Second,Server Queue,Server Compute Infer,p99 latency,Avg latency\n"
    "1,69.2,64,11781,21018,14443\n4,84.2,33669,11731,64886,47535\n",
    "fleet.yaml": "hosts: [{name: t4, devices: 4, cost: 900, capacity: t4.json}]\n",
    "t4.json": json.dumps(
        {
            "schema": "framepace.capacity/1",
            "cameras": 9,
            "missed": 10,
            "target_fps": 30,
            "budget_ns": 33.3e6,
            "points": [{"cameras": 9, "holds": True, "p99_ns": {"value": 11.5e6}}],
        }
    ),
}


def json_documents() -> dict[str, dict[str, Any]]:
    """The object that each command prints, from runs in virtual time."""
    before = Path.cwd()
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        for name, text in FILES.items():
            Path(name).write_text(text)
        try:
            return {name: json_document(line) for name, line in JSON_COMMANDS.items()}
        finally:
            os.chdir(before)


def json_document(line: str) -> dict[str, Any]:
    """What one command prints with `--json`. Its exit code is its answer, which does not matter here."""
    from framepace.cli.app import app

    words = shlex.split(line.format(device="--backend simulated --device t4"))
    output = io.StringIO()
    with redirect_stdout(output), redirect_stderr(io.StringIO()), suppress(SystemExit):
        app([*words, "--json"], standalone_mode=False)
    document: dict[str, Any] = json.loads(output.getvalue())
    return document
