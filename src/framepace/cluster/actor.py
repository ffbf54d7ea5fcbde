"""What runs on a place: an object of the caller's, whose methods are called from elsewhere.

Light: it is imported by a worker of Ray before the environment is as the object shall see it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from framepace.engine.childprocess import sendable

_SET_BY_RAY = "OMP_NUM_THREADS"  # to the cores that an actor asked for, which is nobody's setting


class Actor:
    """Makes the object of a factory on the place, and calls its methods; what they raise is an answer.

    Args:
        environment: variables as the caller has them, None: it has none.
    """

    def __init__(
        self, environment: Mapping[str, str | None], factory: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> None:
        _prepare(environment)
        self._error: Exception | None = None
        self.make(factory, arguments)

    def make(self, factory: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Make the object, in place of the one before."""
        self._error = None
        try:
            self._object = factory(*arguments)
        except Exception as error:
            self._error = sendable(error)

    def answer(self) -> tuple[bool, Any]:
        """As a call whose method answers True."""
        return self._error is None, self._error or True

    def call(self, method: str, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
        """Whether a method answered, and its answer or what it raised; all raise what the factory did."""
        if self._error is not None:
            return False, self._error
        try:
            return True, getattr(self._object, method)(*arguments)
        except Exception as error:
            return False, sendable(error)


def own_environment() -> dict[str, str | None]:
    """The variables of this process that an actor shall have as they are here."""
    return {_SET_BY_RAY: os.environ.get(_SET_BY_RAY)}


def _prepare(environment: Mapping[str, str | None]) -> None:
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # as NVML and Ray count
    for name, value in environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
