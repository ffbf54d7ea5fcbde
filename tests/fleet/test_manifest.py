"""The manifest for KubeRay: what it says fits together, and its command line is one of framepace's."""

from __future__ import annotations

import re
import shlex
from typing import Any

import yaml
from typer.testing import CliRunner

from framepace.cli.app import app
from tests.docs.pages import ROOT

_DEPLOY = ROOT / "examples" / "deploy"


def _job() -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load((_DEPLOY / "kuberay.yaml").read_text(encoding="utf-8"))
    return job


def _pods() -> list[dict[str, Any]]:
    cluster = _job()["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


def test_the_command_has_only_options_that_exist() -> None:
    """Also when options are renamed."""
    words = shlex.split(_job()["spec"]["entrypoint"])
    assert words[:2] == ["framepace", "run"]
    said = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    options = set(re.findall(r"--[a-z][a-z0-9-]+", said))
    assert "--ray" in options
    assert {word for word in words if word.startswith("--")} <= options


def test_no_engine_runs_on_the_head_and_every_worker_has_a_gpu() -> None:
    """The head has no core for engines; a place is a GPU."""
    cluster = _job()["spec"]["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in cluster["workerGroupSpecs"]:
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_files_are_under_the_same_path_on_every_node() -> None:
    """And all of one version of Ray."""
    mounts = [container["volumeMounts"] for pod in _pods() for container in pod["containers"]]
    assert all(mount == mounts[0] for mount in mounts)
    for pod in _pods():
        assert {mount["name"] for mount in mounts[0]} == {volume["name"] for volume in pod["volumes"]}
    assert len({container["image"] for pod in _pods() for container in pod["containers"]}) == 1
    version = _job()["spec"]["rayClusterSpec"]["rayVersion"]
    assert f"rayproject/ray:{version}-" in (_DEPLOY / "ray.Dockerfile").read_text(encoding="utf-8")
