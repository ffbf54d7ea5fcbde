"""What a user must allow by name, for the program does something else with it. Standard library only."""

from __future__ import annotations

import builtins
import itertools
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from _framepace_switches import Change, Switch

_PICTURES = 8


class _Pictures:
    """The first pictures of a source, one after the other."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self._turn = itertools.count()

    @property
    def enough(self) -> bool:
        """Whether no more are kept."""
        return len(self.kept) >= _PICTURES

    def next(self) -> Any:
        """One of them."""
        return self.kept[next(self._turn) % len(self.kept)]


class CachedDecoding(Switch):  # type: ignore[misc]
    """The first pictures of each source come again and again, instead of new ones."""

    def changes(self) -> dict[str, Change]:
        """Of OpenCV and PyAV."""
        return {"cv2": self._opencv, "av.container.input": self._pyav}

    def _opencv(self, module: ModuleType) -> None:
        read: Callable[..., Any] = module.VideoCapture.read
        sources: dict[int, _Pictures] = {}

        def read_or_repeat(capture: Any, *arguments: Any, **options: Any) -> Any:
            pictures = sources.setdefault(id(capture), _Pictures())
            if self.active and pictures.enough and not (arguments or options):
                return True, pictures.next().copy()
            found, picture = read(capture, *arguments, **options)
            if found and not pictures.enough:
                pictures.kept.append(picture.copy())
            return found, picture

        module.VideoCapture.read = read_or_repeat

    def _pyav(self, module: ModuleType) -> None:
        decode: Callable[..., Iterator[Any]] = module.InputContainer.decode

        def decode_or_repeat(container: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
            pictures = _Pictures()
            for picture in decode(container, *arguments, **options):
                if not pictures.enough:
                    pictures.kept.append(picture)
                yield picture
                while self.active and pictures.enough:
                    yield pictures.next()

        module.InputContainer.decode = decode_or_repeat


class NoSinks(Switch):  # type: ignore[misc]
    """Nothing is shown, written to a file of pictures or video, or printed."""

    def changes(self) -> dict[str, Change]:
        """Of OpenCV, PyAV and the standard library."""
        return {"cv2": self._opencv, "av.container.output": self._pyav, "builtins": self._print}

    def _opencv(self, module: ModuleType) -> None:
        self._swallow(module, "imshow")
        self._swallow(module, "imwrite", True)
        self._swallow(module.VideoWriter, "write")

    def _pyav(self, module: ModuleType) -> None:
        self._swallow(module.OutputContainer, "mux")

    def _print(self, module: ModuleType) -> None:
        self._swallow(builtins, "print")

    def _swallow(self, owner: Any, name: str, result: Any = None) -> None:
        function = getattr(owner, name)

        def swallowed(*arguments: Any, **options: Any) -> Any:
            if self.active:
                return result
            return function(*arguments, **options)

        setattr(owner, name, swallowed)
