"""What to do about a model that cannot be served as it is: options that work when they are pasted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from shlex import quote

from msgspec.structs import replace

from framepace.errors import ModelError, UsageError
from framepace.facts.plan import ModelPlan
from framepace.models.resolving import EXAMPLE_SIZE, running_options
from framepace.models.spec import inspect

_SIZE = re.compile(r"--size (\d+x\d+)")


@contextmanager
def advice_for(name: str, has_others: bool) -> Iterator[None]:
    """Where a server has other models, a size that is missing is one of this model alone: others may not take it."""
    try:
        yield
    except ModelError as error:
        if not has_others or error.fix is None or not _SIZE.search(error.fix):
            raise
        raise type(error)(error.what, got=error.got, expected=error.expected, fix=_of_one(error.fix, name)) from error


def _of_one(fix: str, name: str) -> str:
    return _SIZE.sub(lambda size: f"--set {quote(f'{name}.size={size[1]}')}", fix)


def native_size(model: ModelPlan, has_others: bool) -> UsageError:
    """The error for a model that a plan runs at each picture's own size, with a size that it takes."""
    options = _running_options(model)
    if has_others:
        options = _of_one(options, model.name)
    got = f"{model.name}: size=native"
    return UsageError("a served model has one size", got=got, fix=f"give it, with your numbers: {options}")


def _running_options(model: ModelPlan) -> str:
    """Options with which the model runs; a usual size where none were found."""
    height, width = EXAMPLE_SIZE
    try:
        return running_options(inspect(model.model), replace(model, size=None)) or f"--size {width}x{height}"
    except ModelError:
        return f"--size {width}x{height}"
