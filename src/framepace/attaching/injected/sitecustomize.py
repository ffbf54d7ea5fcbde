"""Python's own hook for sites: starts the probe before the program, then runs the site's own file of this name.

This folder stands first in PYTHONPATH of the observed program and of the processes that it starts. Nothing in here may
break the program: an error of the probe is noted, and the program goes on without it.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import json
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def _start_probe() -> None:
    folder = os.environ.get("FRAMEPACE_ATTACH", "")
    settings = os.environ.get("FRAMEPACE_SET", "")
    turns = os.environ.get("FRAMEPACE_TURNS", "")
    if not (folder or settings or turns):
        return
    try:
        import _framepace_probe

        _framepace_probe.start(folder, json.loads(settings or "{}"), json.loads(turns or "{}"))
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        print(f"framepace: this process runs as it is: {why}", file=sys.stderr)
        _tell(folder, why)


def _tell(folder: str, why: str) -> None:
    """Leave word of why the probe did not start, where somebody looks for what it would have written."""
    if folder:
        with contextlib.suppress(OSError), open(os.path.join(folder, f"{os.getpid()}.failed"), "w") as file:
            file.write(why)


def _run_own_file() -> None:
    """Run the `sitecustomize` that this one hides, if there is one."""
    others = [path for path in sys.path if os.path.abspath(path or ".") != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


_start_probe()
sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != _HERE]  # what the program would have seen
_run_own_file()
