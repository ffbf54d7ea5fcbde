"""A plan as plain ONNX files: the variants that it runs, and the plan that runs these files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec.structs import replace

from framepace.errors import UsageError
from framepace.exporting.subject import Subject, check_free, content, make_folder, subject
from framepace.facts.exported import Exported
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.prepare import Prepare
from framepace.models.convert.variant import weight_files
from framepace.progress import Tell, silent
from framepace.store import save_plan, write_atomic

PLAN = "plan.yaml"
_ENDING = ".onnx"


def export_onnx(plan: Plan, folder: Path, *, overwrite: bool = False, tell: Tell = silent) -> Exported:
    """Write each model as NAME.onnx into `folder`, as the plan runs it, and a plan of these files.

    Precision and preparation that the plan puts into the graph are in the files; the rest stays with the plan.

    Raises:
        UsageError: a model is no ONNX file. StoreError: a file is there already, or nothing can be written.
        ModelError: a model cannot be read or converted.
    """
    contents, plain = onnx_files(plan, tell)
    models = tuple(replace(model, model=str(folder / model.model)) for model in plain.models)
    write_all(folder, contents, replace(plain, models=models), overwrite)
    return Exported(folder=str(folder), models=plan.names, files=(*contents, PLAN), notes=tuple(notes(plain)))


def write_all(folder: Path, files: Mapping[str, bytes], plan: Plan, overwrite: bool) -> None:
    """Write files into a folder, and the plan as the last. Raises StoreError."""
    for name in (*files, PLAN):
        check_free(folder / name, overwrite, "the folder has that file already")
    make_folder(folder)
    for name, data in files.items():
        write_atomic(folder / name, data)
    save_plan(plan, folder / PLAN)


def onnx_files(plan: Plan, tell: Tell) -> tuple[dict[str, bytes], Plan]:
    """The files by name, and the plan that runs them from where they are. Raises as `export_onnx`."""
    contents: dict[str, bytes] = {}
    subjects = [subject(plan, model, None, tell) for model in plan.models]
    for one in subjects:
        if one.runtime != "onnxruntime":
            fix = "--to triton exports engines and TorchScript"
            raise UsageError("not an ONNX file", got=one.model.model, fix=fix)
        for name, data in _files(one).items():
            _check_same(name, contents.setdefault(name, data), data)
    return contents, replace(plan, models=tuple(map(_plain, subjects)), machine=None, traces=())


def _check_same(name: str, before: bytes, data: bytes) -> None:
    """Raise UsageError where two models have other weights in files of one name."""
    if before != data:
        fix = "export the models one at a time, each into a folder of its own"
        raise UsageError("two models have weights in files of one name", got=name, fix=fix)


def _files(one: Subject) -> dict[str, bytes]:
    weights = {path.name: path.read_bytes() for path in weight_files(one.file)}
    return {f"{one.model.name}{_ENDING}": content(one.file), **weights}


def _plain(one: Subject) -> ModelPlan:
    """The model without what is in its file now."""
    model = replace(one.model, model=f"{one.model.name}{_ENDING}", graph_shapes="exported")
    if not one.accelerated or model.precision != "fp16":  # TensorRT makes that of an FP32 file by itself
        model = replace(model, precision="fp32", calibration=None, fp32_nodes=())
    if model.prepare.place == "graph":
        usual = Prepare()
        done = replace(model.prepare, place="host", scale=usual.scale, mean=usual.mean, std=usual.std)
        model = replace(model, prepare=done)
    return model


def notes(plan: Plan) -> Iterator[str]:
    """What programs that run the files without framepace have to do."""
    for model in plan.models:
        how = model.prepare
        words = f"{how.resize}, {how.colour}, value = (pixel * {how.scale:.6g} - mean) / std"
        yield f"{model.name}: float inputs of pictures are prepared by {words}; uint8 inputs take pixels as they are"
