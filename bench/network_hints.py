"""What follows from an error's advice for somebody who knows nothing of the network."""

from __future__ import annotations

import re
from collections.abc import Sequence

_OPTION = re.compile(
    r"--(size|shape|layout|scope|input|image|previous|state|window|set|batch)[ =]([^\s,;()'\"]+)", re.IGNORECASE
)
_MORE_SECONDS = ("20", "60", "120")  # where an advice is to take more time
_PLACEHOLDER = re.compile(r"[A-Z]{3,}")  # WIDTHxHEIGHT, NAME=VALUE: not a value


def followed(error: str, asked: Sequence[str], *, scopes: bool) -> list[str] | None:
    """The options of the first alternative that an error advises and that is not tried yet, if there is one.

    Args:
        scopes: whether the command has the options --scope and --seconds; without them it has --time-limit.
    """
    time_option = "--time-limit"
    if scopes:
        time_option = "--seconds"
    *_, advice = error.rpartition("what to do: ")
    for alternative in re.split(r",? or ", advice):
        options: list[str] = []
        for name, value in _OPTION.findall(alternative):
            if value not in asked and not _PLACEHOLDER.search(value):
                options += [f"--{name}", value]
        longer = [seconds for seconds in _MORE_SECONDS if seconds not in asked]
        if time_option in alternative and longer:
            options += [time_option, longer[0]]
        if options and (scopes or "--scope" not in options):
            return options
    return None
