"""The probe: times the calls by which a program decodes, prepares, infers, shows and waits. Standard library only.

Each process writes into the folder: PID-N.events, six int64 per call (the number of its name, begin and end in ns on
the clock that all processes share, thread, value, and the frame that the program named, 0 for none); PID-N.json, which
says what the numbers mean; PID-N.answers, a line of JSON for each answer of a model that was kept; PID-N.first,
when the first inference had ended. A thread writes twice per second, so that a killed process loses half a second.

A call costs about half a microsecond more. What fails in here is noted, and the program's call goes through.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import itertools
import json
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from _framepace_answers import Answers
from _framepace_collections import watch_collections
from _framepace_marks import FRAME, Marks
from _framepace_sampler import Sampler
from _framepace_timing import Numbers, looks_like, timed_function, timed_method

if TYPE_CHECKING:
    from _framepace_turns import Turns

Row = tuple[int, int, int, int, int, int]
Patch = Callable[["Probe", ModuleType], None]
Change = Callable[[ModuleType], None]  # what is done to a library once it is imported
_UNSEEN = (  # libraries that infer, and whose calls are not timed
    "mediapipe", "tensorflow", "tflite_runtime", "ai_edge_litert", "openvino", "ncnn", "jax", "paddle",
    "onnxruntime_genai", "onnx.reference", "llama_cpp", "ctranslate2", "tensorrt_rtx", "MNN", "rknnlite",
)  # fmt: skip

_LONGEST_TEXT = 200  # of an error

marks: Marks | None = None
"""Of this process, for the blocks that the program names."""


class Probe:
    """Collects rows of this process, and writes them."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._names: dict[tuple[str, str], int] = {}
        self.models: list[str] = []
        self.sessions: dict[str, dict[str, Any]] = {}
        self.answers = Answers()
        self.sources: list[str] = []
        self.libraries: list[str] = []
        self.notes: list[str] = []
        self.refused: dict[str, str] = {}
        self._rows: list[Row] = []
        self.add = self._rows.append
        self._begin()

    def _begin(self) -> None:
        """Begin with nothing, in a process that is new (a fork has its parent's rows, and none of its threads)."""
        self._rows.clear()
        self._written = 0
        self._has_inferred = False
        self._ending = False
        self._lock = threading.Lock()
        self._naming = threading.Lock()
        self._described: tuple[object, ...] = ()
        self._stem = _free_stem(os.path.join(self._folder, str(os.getpid())))
        open(self._stem + ".events", "ab").close()  # by which the CPU time of this process is found from now on
        self._sampler = Sampler(self)
        threading.Thread(target=self._sampler.run, name="framepace", daemon=True).start()

    def restart(self) -> None:
        """Begin anew in a forked child."""
        self._begin()

    def number_of(self, stage: str, call: str) -> int:
        """The number by which rows name a call."""
        with self._naming:  # two threads at once would give two calls one number
            return self._names.setdefault((stage, call), len(self._names))

    def note(self, text: str) -> None:
        """Keep a sentence for the reader, once."""
        if text not in self.notes:
            self.notes.append(text)

    def add_row(self, number: int, begin: int, end: int, value: int = 0) -> None:
        """A row of this thread and of the frame in which it is."""
        self.add((number, begin, end, threading.get_ident(), value, FRAME.get()))

    def wrap(self, function: Callable[..., Any], stage: str, call: str, numbers: Numbers | None = None) -> Any:
        """The function, with a row for each call. `numbers` make the row's last number, of a method."""
        number = self.number_of(stage, call)
        if numbers is None:
            return timed_function(self, function, number)
        return timed_method(self, function, number, numbers)

    def patch(self, owner: Any, name: str, stage: str, call: str, numbers: Numbers | None = None) -> None:
        """Replace a function or method of a class by itself with rows, where there is one and it can be replaced."""
        function = getattr(owner, name, None)
        if function is None:
            return
        try:
            setattr(owner, name, self.wrap(function, stage, call, numbers))
        except (AttributeError, TypeError) as error:
            self.note(f"{call} cannot be timed: {error}")

    def index(self, names: list[str], name: str) -> int:
        """The place of a name in `models` or `sources`; new ones are added."""
        if name not in names:
            names.append(name)
        return names.index(name)

    def flush(self) -> None:
        """Write what there is. A process without calls writes nothing until its end."""
        with self._lock:
            rows = self._rows[:]
            del self._rows[: len(rows)]
            if rows:
                packed = array.array("q", [number for row in rows for number in row])
                with open(self._stem + ".events", "ab") as file:
                    packed.tofile(file)
                self._written += len(rows)
                self._tell_first(rows)
            if self._written or self._ending:
                self._describe()
            self._write_answers()

    def _tell_first(self, rows: list[Row]) -> None:
        """Write when the first inference of this process had ended, once it has."""
        if self._has_inferred:
            return
        numbers = {number for (stage, _), number in list(self._names.items()) if stage == "infer"}
        ends = [row[2] for row in rows if row[0] in numbers]
        if ends:
            with open(self._stem + ".first", "w") as file:
                file.write(str(min(ends)))
            self._has_inferred = True

    def _write_answers(self) -> None:
        """Those that are new, to the end of their file: to write all of them again takes a millisecond."""
        answers = self.answers.kept[:]
        del self.answers.kept[: len(answers)]
        if answers:
            with open(self._stem + ".answers", "a") as file:
                file.write("".join(json.dumps(answer) + "\n" for answer in answers))

    def _describe(self) -> None:
        """Write what the numbers mean, where anything is new."""
        kept = (self._names, self.models, self.sessions, self.sources, self.notes, self.refused)
        state = (*map(len, kept), _threads(), _versions(self.libraries), _raised())
        if state != self._described:
            with open(self._stem + ".part", "w") as file:
                file.write(self._description())
            os.replace(self._stem + ".part", self._stem + ".json")
            self._described = state

    def _description(self) -> str:
        names = [list(name) for name in self._names]
        return json.dumps({
            "command": getattr(sys, "orig_argv", sys.argv), "names": names, "models": self.models,
            "sessions": self.sessions, "threads": _threads(), "sources": self.sources,
            "libraries": _versions(self.libraries), "notes": self.notes,
            "refused": self.refused, "unseen": [name for name in _UNSEEN if name in sys.modules],
            "raised": _raised(), "python": sys.version.split()[0],
            "parent": os.getppid(), "main_thread": threading.main_thread().ident,
        })  # fmt: skip

    def finish(self) -> None:
        """Write the last rows, and that this process was observed."""
        self._ending = True
        self.flush_quietly()

    def flush_quietly(self) -> None:
        """Write what there is; an error is noted."""
        try:
            self.flush()
        except Exception as error:  # a full disk: the program has nothing to do with it
            self.note(f"rows could not be written: {error}")


def _raised() -> str:
    """What ended the program that nobody caught, as Python keeps it; '' for nothing."""
    error = getattr(sys, "last_value", None)
    return f"{type(error).__name__}: {error}"[:_LONGEST_TEXT] if isinstance(error, BaseException) else ""


def _threads() -> dict[str, int]:
    """How many threads the libraries use that say so."""
    counts = {}
    for library, function in (("cv2", "getNumThreads"), ("torch", "get_num_threads")):
        count = getattr(sys.modules.get(library), function, None)
        with contextlib.suppress(Exception):  # a library that is just being imported
            counts[library] = int(count())  # type: ignore[misc]
    return counts


def _versions(libraries: list[str]) -> dict[str, str]:
    """The versions of libraries that say theirs, by name."""
    versions = {name: getattr(sys.modules.get(name), "__version__", None) for name in libraries}
    return {name: str(version) for name, version in versions.items() if version is not None}


def _free_stem(process: str) -> str:
    """The name of this program's files: a process that replaces itself (`exec`) runs several under one number."""
    stems = (f"{process}-{place}" for place in itertools.count())
    return next(stem for stem in stems if not os.path.exists(stem + ".json"))


class Finder:
    """Changes a library as soon as the program has imported it. An error in a change is kept from the program."""

    def __init__(self, changes: dict[str, list[Change]], failed: Callable[[str], None]) -> None:
        self._changes = changes
        self._failed = failed

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The library's own spec, whose loader changes it at the end."""
        changes = self._changes.pop(name, None)  # not for the search below
        if changes is None:
            return None
        import importlib.util

        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None or not hasattr(spec.loader, "exec_module"):
            return spec
        spec.loader = _Loader(spec.loader, changes, self._failed)  # type: ignore[assignment]
        return spec

    def change_imported(self) -> None:
        """Change what was imported before."""
        for name in [name for name in self._changes if name in sys.modules]:
            _change(sys.modules[name], self._changes.pop(name), self._failed)


class _Loader:
    """A loader that changes what another has loaded."""

    def __init__(self, loader: Any, changes: list[Change], failed: Callable[[str], None]) -> None:
        self._loader = loader
        self._changes = changes
        self._failed = failed

    def create_module(self, spec: Any) -> Any:
        """As the other does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """As the other does; then the changes."""
        self._loader.exec_module(module)
        _change(module, self._changes, self._failed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def _change(module: ModuleType, changes: list[Change], failed: Callable[[str], None]) -> None:
    for change in changes:
        try:
            change(module)
        except Exception as error:
            failed(f"{module.__name__} was left as it is: {type(error).__name__}: {error}")


def start(folder: str, settings: dict[str, str], turns: dict[str, Any]) -> None:
    """Change what the settings say, now or by turns, and observe this process where there is a folder."""
    from _framepace_turns import Turns

    probe = Probe(folder) if folder else None
    switches = Turns(settings, turns, partial(_refused, probe), probe.answers.begin if probe else _nothing)
    finder = Finder(_changes(settings, switches, probe), probe.note if probe else _say)
    finder.change_imported()
    sys.meta_path.insert(0, finder)
    switches.start()
    if probe:
        _watch_process(probe)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=partial(_restart, probe, switches))


def _changes(settings: dict[str, str], switches: Turns, probe: Probe | None) -> dict[str, list[Change]]:
    """What is changed in each library: settings come before the probe, for what is timed is what runs."""
    import _framepace_settings

    changes: dict[str, list[Change]] = {}
    for name, change in switches.changes():
        changes.setdefault(name, []).append(change)
    if settings:
        for name, apply in _framepace_settings.CHANGES.items():
            changes.setdefault(name, []).append(partial(apply, settings))
    if probe:
        _add_patches(changes, probe)
    return changes


def _watch_process(probe: Probe) -> None:
    """Named blocks, collections, and the end of the process."""
    global marks
    marks = Marks(probe)
    watch_collections(probe)
    _flush_at_the_end(probe)


def _restart(probe: Probe | None, switches: Turns) -> None:
    """Begin anew in a forked child."""
    if probe:
        probe.restart()
    switches.start()


def _refused(probe: Probe | None, setting: str, why: str) -> None:
    if probe:
        probe.refused[setting] = why
    else:
        _say(f"{setting} was not switched: {why}")


def _nothing(arm: int) -> None:
    """Where nobody asks which arm has its turn."""


def _say(text: str) -> None:
    print(f"framepace: {text}", file=sys.stderr)


def _add_patches(changes: dict[str, list[Change]], probe: Probe) -> None:
    import _framepace_libraries

    for name, patch in _framepace_libraries.PATCHES.items():
        changes.setdefault(name, []).append(partial(_patched, probe, patch))


def _patched(probe: Probe, patch: Patch, module: ModuleType) -> None:
    probe.index(probe.libraries, module.__name__.partition(".")[0])
    patch(probe, module)


def _flush_at_the_end(probe: Probe) -> None:
    """Write the last rows where the program ends, also by `os._exit`, as forked children do, or replaces itself."""
    for name in ("_exit", "execv", "execve"):
        setattr(os, name, _flushing(probe, getattr(os, name)))
    atexit.register(probe.finish)


def _flushing(probe: Probe, leave: Callable[..., Any]) -> Any:
    def flush_and_leave(*arguments: Any) -> Any:
        probe.finish()
        return leave(*arguments)

    return looks_like(flush_and_leave, leave)
