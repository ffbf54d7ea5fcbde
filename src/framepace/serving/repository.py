"""The models that are served, by name and version: found, listed, loaded anew and unloaded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from framepace.errors import FramepaceError
from framepace.openinference.errors import RequestError
from framepace.serving.advice import advice_for
from framepace.serving.model import ServedModel
from framepace.units import NS_PER_S

Make = Callable[[], Mapping[str, Sequence[ServedModel]]]
"""Reads the plans and makes the models of each name, versions in order, without starting them."""


class Repository:
    """All models. `make` is called again whenever one is loaded anew."""

    def __init__(self, make: Make, drain_s: float) -> None:
        self._make = make
        self._drain_s = drain_s
        self._models: dict[str, dict[str, ServedModel]] = {}
        self._known: dict[str, list[str]] = {}  # the versions of models that were unloaded, by name
        self._lock = threading.Lock()  # of loading and unloading
        self.closing = False

    def start(self) -> None:
        """Load all models. Raises FramepaceError; what was loaded is freed then."""
        try:
            models = self._make()
            for name, versions in models.items():
                with advice_for(name, has_others=len(models) > 1):
                    self._models[name] = _started(versions)
        except BaseException:
            self.close(0.0)
            raise

    @property
    def ready(self) -> bool:
        """Whether every model takes requests and the server is not ending."""
        models = self.all()
        return bool(models) and not self.closing and all(model.state == "READY" for model in models)

    def all(self) -> list[ServedModel]:
        """Every version of every model that is loaded."""
        return [model for versions in list(self._models.values()) for model in versions.values()]

    def versions(self, name: str) -> list[str]:
        """The versions of a model, the oldest first."""
        return list(self._models.get(name, {}))

    def find(self, name: str, version: str = "") -> ServedModel:
        """A model; its newest version by default. Raises RequestError."""
        versions = self._models.get(name)
        if not versions:
            raise RequestError(f"Request for unknown model: '{name}' is not found", "not found")
        if not version:
            return versions[next(reversed(versions))]
        if version not in versions:
            raise RequestError(f"Request for unknown model: '{name}' version {version} is not found", "not found")
        return versions[version]

    def is_ready(self, name: str, version: str = "") -> bool:
        """Whether a model takes requests. Raises RequestError for one that is not there."""
        return self.find(name, version).state == "READY"

    def index(self, ready: bool = False) -> list[dict[str, str]]:
        """All models that are known, or those that take requests."""
        loaded = [
            {"name": model.name, "version": model.version, "state": model.state, "reason": model.reason}
            for model in self.all()
            if not ready or model.state == "READY"
        ]
        if ready:
            return loaded
        return loaded + [
            {"name": name, "version": version, "state": "UNAVAILABLE", "reason": "unloaded"}
            for name, versions in list(self._known.items())
            if name not in self._models
            for version in versions
        ]

    def load(self, name: str) -> None:
        """Load a model, or load it anew: the new one takes over before the old one ends, so that no request is lost.

        Raises RequestError where the plan cannot be read or the model cannot be loaded; the old one stays then.
        """
        with self._lock:
            if name not in self._models and name not in self._known:
                raise RequestError(f"failed to load '{name}', failed to poll from model repository")
            try:
                fresh = _started(self._make().get(name, ()))
            except FramepaceError as error:
                raise RequestError(f"failed to load '{name}', {' '.join(str(error).split())}") from error
            if not fresh:
                raise RequestError(f"failed to load '{name}', the plan has no such model any more")
            old = self._models.get(name, {})
            self._models[name] = fresh
            self._known.pop(name, None)
            self._stop(old)

    def unload(self, name: str) -> None:
        """Take a model out of service when its accepted requests are answered. Raises RequestError."""
        with self._lock:
            if name not in self._models:
                raise RequestError(f"Unload failed for '{name}': no such model")
            self._known[name] = self.versions(name)
            self._stop(self._models.pop(name))

    def drain(self, seconds: float, now: Callable[[], int]) -> None:
        """Take no more requests, and answer those that were accepted within `seconds`; the rest get an error then."""
        self.closing = True
        ending = RequestError("the server is ending", "unavailable")
        models = self.all()
        for model in models:
            model.feed.close(ending)
        until = now() + round(seconds * NS_PER_S)
        for model in models:
            model.feed.drained((until - now()) / NS_PER_S)
        for model in models:
            model.feed.abandon(ending)

    def close(self, seconds: float) -> None:
        """End all models; accepted requests have so long to be answered."""
        self.closing = True
        with self._lock:
            for name in list(self._models):
                self._stop(self._models.pop(name), seconds)

    def _stop(self, versions: Mapping[str, ServedModel], seconds: float | None = None) -> None:
        for model in versions.values():
            model.stop(self._drain_s if seconds is None else seconds)


def _started(versions: Sequence[ServedModel]) -> dict[str, ServedModel]:
    """All versions, started; if one fails, none is."""
    started: dict[str, ServedModel] = {}
    try:
        for model in versions:
            model.start()
            started[model.version] = model
    except BaseException:
        for model in started.values():
            with suppress(FramepaceError):
                model.stop(0.0)
        raise
    return started
