"""What the benches share: options, the line on the machine and versions, and the table at the end."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from framepace.recording.machine import probe
from framepace.reporting.views.machine import machine_line


def options(description: str, **defaults: int) -> argparse.Namespace:
    """`--json`, `--seed`, and an int option for each default."""
    return parser_of(description, **defaults).parse_args()


def parser_of(description: str, **defaults: int) -> argparse.ArgumentParser:
    """The parser of `options`, for benches that have more of them."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--seed", type=int, default=0)
    for name, value in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    return parser


def show(name: str, args: argparse.Namespace, rows: Sequence[Mapping[str, Any]], **extra: Any) -> None:
    """Print the rows with the machine and versions, as a table or as JSON. A row has 'what', 'got', 'goal', 'met'."""
    machine = probe()
    if args.json:
        document = {"bench": name, "seed": args.seed, "machine": machine_line(machine), "libraries": machine.libraries}
        json.dump({**document, "rows": list(rows), **extra}, sys.stdout, indent=2)
        print()
        return
    print(f"{name}: {machine_line(machine)}")
    print("  " + ", ".join(f"{library} {version}" for library, version in machine.libraries.items()))
    width = max(len(str(row["what"])) for row in rows)
    for row in rows:
        mark = "" if row.get("met") is None else "met" if row["met"] else "MISSED"
        print(f"  {row['what']:<{width}}  {row['got']:>22}  {row.get('goal', ''):>16}  {mark}")
