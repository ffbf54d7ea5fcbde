"""framepace settings."""

from __future__ import annotations

from framepace.cli import options as o
from framepace.cli.show import give


def command(json: o.Json = False) -> None:
    """List the settings that --set and --vary take."""
    from rich.console import Console
    from rich.table import Table

    from framepace.facts.settings import SETTINGS

    def words(console: Console) -> None:
        table = Table(box=None, pad_edge=False, show_header=False)
        for setting in SETTINGS.values():
            table.add_row(setting.name, setting.help)
        console.print(table)

    rows = [{"name": s.name, "part": s.part, "help": s.help} for s in SETTINGS.values()]
    give(json, lambda: {"schema": "framepace.settings/1", "settings": rows}, words)
