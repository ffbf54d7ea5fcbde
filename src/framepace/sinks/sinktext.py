"""The text that names a sink: 'KIND:PLACE' or an address, and options behind '#', as in 'jsonl:out.jsonl#rotate=1GB'.

A fragment is never part of what is opened: files and servers get what stands before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from framepace import values
from framepace.errors import UsageError, unknown
from framepace.facts.address import expanded, shown

_OPTIONS = re.compile(r"[a-z][a-z-]*=.*", re.DOTALL)
_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?i?)B?")
_FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
HOW = "such as jsonl:out.jsonl, stdout, parquet:FOLDER, http://host/path, mqtt://host/topic, video:out.mp4, hls:FOLDER"
_COMMON = ("queue", "drop")


@dataclass(frozen=True)
class SinkText:
    """A sink as it was named.

    Attributes:
        kind: what opens it: 'jsonl', 'https'.
        place: where: a path, a function, or the whole address. It may hold a secret.
        options: by name, as typed.
        name: how it is shown.
    """

    kind: str
    place: str = field(repr=False)
    options: Mapping[str, str] = field(repr=False)
    name: str

    def check_options(self, names: Iterable[str]) -> None:
        """Raise UsageError for an option that is neither one of `names` nor one that all sinks have."""
        allowed = {*names, *_COMMON}
        for option in self.options:
            if option not in allowed:
                raise unknown(f"option of sink {self.kind}", option, allowed)

    def whole(self, option: str, default: int, least: int = 1, limit: int = 1_000_000_000) -> int:
        """The whole number of an option. Raises UsageError."""
        if option not in self.options:
            return default
        return values.whole_number(self.options[option], self._called(option), least=least, most=limit)

    def seconds(self, option: str, default: float) -> float:
        """The duration of an option ('500ms', '2') in seconds. Raises UsageError."""
        if option not in self.options:
            return default
        return values.duration_s(self.options[option], self._called(option))

    def size(self, option: str) -> int | None:
        """The bytes of an option ('100MB', '1.5GiB'); None where it is not set. Raises UsageError."""
        if option not in self.options:
            return None
        match = _BYTES.fullmatch(self.options[option][: values.LONGEST_NUMBER])
        if match is None or float(match[1]) * _FACTORS[match[2]] < 1:
            raise self._wrong(option, "a number of bytes, e.g. 100MB or 1GiB")
        return round(float(match[1]) * _FACTORS[match[2]])

    def choice(self, option: str, choices: tuple[str, ...]) -> str:
        """One of `choices`, by default the first. Raises UsageError."""
        chosen = self.options.get(option, choices[0])
        if chosen not in choices:
            raise self._wrong(option, "one of " + ", ".join(choices))
        return chosen

    def _called(self, option: str) -> str:
        return f"{option} of sink {self.kind}"

    def _wrong(self, option: str, expected: str) -> UsageError:
        got = values.shown(self.options[option])
        return UsageError(f"{self._called(option)} has no such value", got=got, expected=expected, fix="correct it")


def parse(text: str, environment: Mapping[str, str]) -> SinkText:
    """The sink that a text names; ${NAME} in it stands for an environment variable.

    Raises UsageError for a text without a kind or a place, and for a variable that is not set.
    """
    whole = expanded(values.location(text, "--sink"), environment)
    place, mark, fragment = whole.rpartition("#")
    if not mark or not _OPTIONS.fullmatch(fragment):
        place = whole
        fragment = ""
    kind, colon, behind = place.partition(":")
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*", kind) or (colon and not behind):
        raise _no_sink(text)
    if behind.startswith("//"):
        behind = place
    return SinkText(kind=kind, place=behind, options=_options(fragment, text), name=_shown(text, place))


def is_host(name: str | None) -> bool:
    """Whether a host can be called so; whether there is one is another matter."""
    try:
        return bool(name) and bool(str(name).encode("idna"))
    except UnicodeError:  # a part that is empty, or longer than 63 letters
        return False


def _shown(text: str, place: str) -> str:
    """The sink without options and secrets: as typed where that hides a variable, else with what is secret hidden."""
    if "${" in text:
        return shown(text.rpartition("#")[0] or text)
    return shown(place)


def _options(fragment: str, text: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in filter(None, fragment.split(",")):
        name, equals, value = part.partition("=")
        if not equals or not value:
            raise UsageError(
                "an option of a sink has no value", got=shown(text), expected="#NAME=VALUE,NAME=VALUE", fix="correct it"
            )
        options[name] = value
    return options


def _no_sink(text: str) -> UsageError:
    return UsageError("the sink has no kind or no place", got=shown(text), expected=HOW, fix="name the sink by both")
