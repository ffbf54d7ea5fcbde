"""framepace doctor."""

from __future__ import annotations

from framepace.cli.options import Json
from framepace.cli.show import give


def command(json: Json = False) -> None:
    """What this machine can do, and what is set wrong on it."""
    from framepace import api
    from framepace.recording.machine import probe
    from framepace.reporting import documents as document
    from framepace.reporting.terminal import show as terminal

    checks, machine = api.doctor(), probe()
    give(
        json,
        lambda: document.doctor_document(checks, machine),
        lambda out: terminal.show_machine(out, machine),
        lambda out: terminal.show_checks(out, checks),
    )
