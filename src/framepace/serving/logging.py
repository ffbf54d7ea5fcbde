"""What the server says on standard error, and how much: the protocol's logging extension."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import Any

from framepace.openinference.errors import RequestError

_FORMATS = ("default", "ISO8601")
_MOST_LETTERS = 1000


class Log:
    """Lines on standard error. Requests are logged from `log_verbose_level` 1 on."""

    def __init__(self) -> None:
        self._settings: dict[str, Any] = {
            "log_file": "",
            "log_info": True,
            "log_warning": True,
            "log_error": True,
            "log_verbose_level": 0,
            "log_format": "default",
        }
        self.verbose = False

    def document(self) -> dict[str, Any]:
        """All settings as the extension has them."""
        return dict(self._settings)

    def update(self, settings: dict[str, Any]) -> None:
        """Change settings. Raises RequestError for one that is unknown or has another kind of value."""
        for name, value in settings.items():
            self._check(name, value)
        self._settings |= settings
        self.verbose = self._settings["log_verbose_level"] > 0

    def info(self, text: str) -> None:
        """Say that something happened."""
        if self._settings["log_info"]:
            self._say("info", text)

    def request(self, text: str) -> None:
        """Say that a request came; only where that is wanted."""
        if self.verbose:
            self._say("request", text)

    def _check(self, name: str, value: Any) -> None:
        if name not in self._settings:
            raise RequestError(f"unknown log setting '{name}'")
        if name == "log_file":
            raise RequestError("log file location can not be updated through network protocol", "unsupported")
        if type(value) is not type(self._settings[name]):
            raise RequestError(f"Unable to parse '{name}', got: {str(value)[:40]}")
        if name == "log_format" and value not in _FORMATS:
            raise RequestError(f"invalid argument for log_format, got: {value[:40]}, expected {' or '.join(_FORMATS)}")
        if name == "log_verbose_level" and value < 0:
            raise RequestError("log_verbose_level must be 0 or more")

    def _say(self, kind: str, text: str) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        print(f"{now} {kind}: {text[:_MOST_LETTERS]!s}", file=sys.stderr, flush=True)
