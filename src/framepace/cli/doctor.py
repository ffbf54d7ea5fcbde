"""framepace doctor."""

from __future__ import annotations

from framepace.cli.options import Json
from framepace.cli.show import give


def command(json: Json = False) -> None:
    """Check this machine: what it can do, and what is set wrong on it."""
    from framepace import api
    from framepace.reporting import documents
    from framepace.reporting.terminal.doctor import show_checks
    from framepace.reporting.terminal.measurement import show_machine

    checks = api.doctor()
    machine = api.this_machine()
    give(
        json,
        lambda: documents.doctor_document(checks, machine),
        lambda out: show_machine(out, machine),
        lambda out: show_checks(out, checks),
    )
