"""A plan as a folder that an image is built from: it serves the plan, or runs it on cameras."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from framepace.exporting.onnxfiles import PLAN, notes, onnx_files, write_all
from framepace.exporting.wheel import constraints, wheel
from framepace.facts.exported import Exported
from framepace.facts.plan import Plan
from framepace.progress import Tell, silent

_CPU_BASE = "python:3.12-slim"
# NVIDIA's image has the driver's other half: CUDA's and cuDNN's libraries.
_CUDA_BASE = "nvidia/cuda:13.0.2-cudnn-runtime-ubuntu24.04"
_CUDA_SET_UP = (
    "RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/*\n"
)
# Both packages of ONNX Runtime write the same files: the one for GPUs has to come last.
_CUDA_LAST = (
    " \\\n && /opt/framepace/bin/pip uninstall --yes onnxruntime onnxruntime-gpu"
    " \\\n && /opt/framepace/bin/pip install --no-cache-dir onnxruntime-gpu"
)
_DOCKERFILE = """\
# Written by framepace export. Build and run:
#
#   docker build -t {name} .
#   docker run --init{gpus} -e FRAMEPACE_TOKEN -p 8000:8000 -p 8001:8001 {name}
#   docker run --init{gpus} {name} run plan.yaml --source gate=rtsp://10.0.0.1/1 --sink stdout
#
# Clients of the server send the token as a bearer token; without one anybody who reaches the port may ask.
ARG BASE={base}
FROM ${{BASE}}
{set_up}WORKDIR /plan
COPY {wheel} constraints.txt ./
RUN python3 -m venv /opt/framepace \\
 && /opt/framepace/bin/pip install --no-cache-dir -c constraints.txt "./{wheel}[{extras}]"{last} \\
 && rm {wheel}
RUN useradd --uid 10001 --no-create-home framepace && install -d -o framepace /data
ENV PATH=/opt/framepace/bin:$PATH FRAMEPACE_CACHE=/data/cache
COPY {files}
USER framepace
EXPOSE 8000 8001
VOLUME /data
HEALTHCHECK --start-period=60s --interval=10s --timeout=5s CMD ["python3", "-c", "{health}"]
ENTRYPOINT ["framepace"]
CMD ["serve", "plan.yaml", "--host", "0.0.0.0"]
"""
_HEALTH = "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/v2/health/live', timeout=4)"


def export_docker(plan: Plan, folder: Path, *, overwrite: bool = False, tell: Tell = silent) -> Exported:
    """Write a folder with a Dockerfile, the plan, its models as it runs them, and this framepace as a wheel.

    The image is for CUDA where a model of the plan runs on a GPU, else for the CPU.

    Raises:
        UsageError: a model is no ONNX file. StoreError: the folder has such a file already, or framepace is not
            installed. ModelError: a model cannot be read or converted.
    """
    contents, plain = onnx_files(plan, tell)
    files = _files(plain, contents)
    write_all(folder, files, plain, overwrite)
    return Exported(folder=str(folder), models=plan.names, files=(*files, PLAN), notes=_notes(plain, folder))


def _files(plan: Plan, contents: dict[str, bytes]) -> dict[str, bytes]:
    """All files but the plan."""
    name, content = wheel()
    docker = dockerfile(plan, name, (PLAN, *contents))
    return {**contents, name: content, "constraints.txt": _constraints(plan).encode(), "Dockerfile": docker.encode()}


def dockerfile(plan: Plan, wheel_name: str, files: tuple[str, ...]) -> str:
    """The text of the Dockerfile."""
    gpu = on_gpu(plan)
    return _DOCKERFILE.format(
        name=_tag(plan),
        gpus=" --gpus all" if gpu else "",
        base=_CUDA_BASE if gpu else _CPU_BASE,
        set_up=_CUDA_SET_UP if gpu else "",
        last=_CUDA_LAST if gpu else "",
        wheel=wheel_name,
        extras=",".join(_extras(plan)),
        files=json.dumps([*files, "./"], ensure_ascii=False),  # names may have spaces
        health=_HEALTH,
    )


def on_gpu(plan: Plan) -> bool:
    """Whether a model of the plan runs on a GPU."""
    return any(model.backend == "tensorrt" or (model.device or "cpu").startswith("cuda") for model in plan.models)


def _extras(plan: Plan) -> list[str]:
    extras = ["mqtt", "serve"]
    if on_gpu(plan):
        extras.append("cuda")
    backends = {model.backend for model in plan.models}
    return [*extras, *sorted(backends & {"tensorrt", "torch"})]


def _constraints(plan: Plan) -> str:
    """The versions that run here; not those of ONNX Runtime where a GPU asks for another package of it."""
    lines = constraints().splitlines(keepends=True)
    return "".join(line for line in lines if not (on_gpu(plan) and line.startswith("onnxruntime")))


def _notes(plan: Plan, folder: Path) -> tuple[str, ...]:
    build = f"docker build -t {_tag(plan)} {shlex.quote(str(folder))}"
    return (f"build it: {build}", *notes(plan))


def _tag(plan: Plan) -> str:
    """What the image is called: the first model's name, as far as the names of images go."""
    return re.sub(r"[^a-z0-9]+", "-", plan.names[0].lower()).strip("-") or "framepace"
