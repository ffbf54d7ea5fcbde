"""What a user would know of a network, and what follows from an error's advice with that knowledge."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

Known = Mapping[str, str]
"""Values by what an advice leaves open: 'size', 'shape NAME', 'input NAME', 'image', 'previous', 'state', 'window'."""

_USUAL_SIZE = "320x320"
_USUAL_SIDE = "32"
_OPTION = re.compile(
    r"--(size|shape|layout|scope|input|image|previous|state|window|set|batch)[ =]([^\s,;()'\"]+)", re.IGNORECASE
)

# By a part of the network's name: what its documentation says.
NETWORKS: Mapping[str, Known] = {
    "silero": {
        "shape input": "1x512", "shape state": "2x1x128", "shape h": "2x1x64", "shape c": "2x1x64", "input sr": "16000",
    },
    "magika": {"shape bytes": "1x2048"},
    "melspectrogram": {"shape input": "1x16000"},
    "embedding_model": {"shape input_1": "1x76x32x1"},
    "rate-decides": {"input rate": "16000"},
    "caches": {"shape ids": "1x1", "shape past": "1x8x32x16"},
    "state": {"size": "64x64", "shape state_in": "1x16x16x16"},
    "any-rank": {"shape x": "1x3x64x64"},
    "rec": {"size": "320x48"},
    "ddddocr": {"size": "160x64"},
    "_v0.1": {"shape input": "1x16x96"},
    "tashkeel": {"shape input": "1x64"},
    "nakdimon": {"shape input": "1x80"},
    "lstm": {"shape x": "10x1x80", "shape h": "2x1x64", "shape c": "2x1x64"},
    "gru": {"shape x": "1x10x80", "shape h": "2x1x64"},
    "torchvision": {"size": "224x224"},
    "timm": {"size": "224x224"},
    "transformers": {"size": "224x224", "shape input_ids": "1x16", "shape attention_mask": "1x16"},
    "gpt2-caches": {
        "shape ids": "1x1",
        **{f"shape past_{part}_{layer}": "1x4x8x16" for part in ("key", "value") for layer in (0, 1)},
    },
}  # fmt: skip


def known(network: str) -> Known:
    """What is known of a network, the more special over the more general."""
    facts: dict[str, str] = {}
    for part in sorted((part for part in NETWORKS if part in network), key=len):
        facts |= NETWORKS[part]
    return facts


def followed(error: str, facts: Known, asked: Sequence[str]) -> list[str] | None:
    """The options of the first alternative that an error advises and that is not tried yet, if there is one."""
    *_, advice = error.rpartition("what to do: ")
    for alternative in re.split(r",? or ", advice):
        options: list[str] = []
        for name, text in _OPTION.findall(alternative):
            value = _filled(name, text, error, facts)
            if value is not None and value not in asked:
                options += [f"--{name}", value]
        if options:
            return options
    return None


def _filled(name: str, text: str, error: str, facts: Known) -> str | None:
    """The value of an option, what is left open in it replaced by what is known."""
    if name == "size":
        return facts.get("size", _USUAL_SIZE if "W" in text else text)
    if name == "shape":
        tensor, _, shape = text.partition("=")
        return f"{tensor}={facts.get(f'shape {tensor}', _shape(shape))}"
    if name == "input":
        return _named("input", text, error, facts)
    if name in facts and not text.islower():
        return facts[name]
    return text


def _shape(text: str) -> str:
    """A shape with usual sizes where an advice leaves them open."""
    dims = text.replace("HEIGHT", "224").replace("WIDTH", "224").split("x")
    return "x".join(dim if dim.isdigit() else ("1" if place == 0 else _USUAL_SIDE) for place, dim in enumerate(dims))


def _named(kind: str, text: str, error: str, facts: Known) -> str | None:
    """'NAME=VALUE' for the first input that the error names and of which the value is known."""
    tensor = text.partition("=")[0]
    if f"{kind} {tensor}" in facts:
        return f"{tensor}={facts[f'{kind} {tensor}']}"
    for fact, value in facts.items():
        head, _, name = fact.partition(" ")
        if head == kind and re.search(rf"\b{re.escape(name)}\b", error):
            return f"{name}={value}"
    return None
