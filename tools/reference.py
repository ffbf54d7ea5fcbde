"""The reference pages of the documentation, written from the code: `make docs` runs it before MkDocs.

    python -m tools.reference [FOLDER]   default: docs/reference

Settings, causes, commands, `--json` objects, trace columns, exit codes, backends and the library. The pages are not
committed. The `--json` objects are those of short runs in virtual time, so that a page takes seconds to make.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, is_typeddict

import msgspec

from tools.jsonreference import json_page
from tools.markdown import (
    code,
    doc,
    docstring,
    first,
    page,
    plain_type,
    signature,
    slug,
    table,
    type_name,
    type_text,
    value_text,
)

ROOT = Path(__file__).resolve().parent.parent
SITE_PATHS = {"docs/": "../", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
SITE_PATHS |= {"CHANGELOG.md": "changelog.md", "README.md": "../index.md"}


ROOT_PAGES = ("CHANGELOG", "CONTRIBUTING", "SECURITY")


def main(folder: Path) -> None:
    """Write every page into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in PAGES.items():
        (folder / f"{name}.md").write_text(write(), encoding="utf-8")
    for name in ROOT_PAGES:
        (folder / f"{name.lower()}.md").write_text(for_site((ROOT / f"{name}.md").read_text()), encoding="utf-8")


def generated_names() -> tuple[str, ...]:
    """The pages that are written, by name."""
    return (*PAGES, *(name.lower() for name in ROOT_PAGES))


def for_site(text: str) -> str:
    """A page of the repository's root with its links as the site needs them; links to source files become text."""

    def link(match: re.Match[str]) -> str:
        words, target = match.groups()
        if re.match(r"https?:|#|mailto:", target):
            return match.group()
        for prefix, place in SITE_PATHS.items():
            if target.startswith(prefix):
                return f"[{words}]({place}{target.removeprefix(prefix)})"
        return words if "`" in words else f"`{target}`"

    return re.sub(r"\[([^\]]+)\]\(([^)\s]+)\)", link, text)


PARTS = {
    "models": ("Models", "One value for all models, or `MODEL.NAME=VALUE` for one of them (`detector.threads=2`)."),
    "engine": ("Engine", "How workers run, wait and hand over."),
    "source": ("Sources", "Frames that wait between a source and the workers."),
    "workload": (
        "Workload",
        "Which part runs, on which frames. These belong to the measurement, not to the plan.",
    ),
    "load": ("Load", "How requests arrive. `--load` has more kinds."),
}


def settings_page() -> str:
    """Every setting with type, default, help and reason."""
    from framepace.facts.settings import SETTINGS

    parts = []
    for part, (title, sentence) in PARTS.items():
        rows = [setting_row(s) for s in SETTINGS.values() if s.part == part]
        parts += [f"## {title}\n", f"{sentence}\n", table(("setting", "values", "default", "what it is", "why"), rows)]
    intro = (
        "What `--set NAME=VALUE`, `--vary NAME=V1,V2,...`, `settings={...}` in Python and the interventions of "
        "`explain` can change. `framepace settings` prints the short form. `option.KEY` sets an "
        "[option of the backend](backends.md); `none` gives an option or an optional setting back to its default."
    )
    return "---\nhide: [toc]\n---\n" + page("Settings", intro, *parts)


def setting_row(setting: Any) -> tuple[str, ...]:
    """One row of the settings' tables."""
    default, kind = setting_default(setting)
    shown = "" if default is ... else code(value_text(default))
    anchor = f'<span id="{setting.name}"></span>`{setting.name}`'
    return anchor, type_text(kind), shown, setting.help, reasons(setting)


def setting_default(setting: Any) -> tuple[Any, Any]:
    """Default (... where there is none) and type of a setting."""
    from framepace.facts.plan import ModelPlan, Plan
    from framepace.facts.workload import Closed, Workload

    if setting.part == "load" or setting.field == "model":
        return ..., setting.type
    plan = Plan(models=(ModelPlan(name="m", model="m.onnx"),))
    roots = {"models": plan.models[0], "workload": Workload(load=Closed())}
    root = roots.get(setting.part) or getattr(plan, setting.part)
    default, kind = field_at(root, setting.field)
    return default, setting.type if type_text(setting.type) == "WIDTHxHEIGHT" else kind


def reasons(setting: Any) -> str:
    """Why a plan may have the setting, and then each value that has its own reason."""
    values = [f"`{value}`: {text}" for value, text in setting.why_value.items()]
    return "<br>".join([*([setting.why] if setting.why else []), *values])


def field_at(fact: Any, path: str) -> tuple[Any, Any]:
    """Default value and annotated type of the field at a dotted path of a fact."""
    head, _, tail = path.partition(".")
    if tail:
        return field_at(getattr(fact, head), tail)
    kinds = {field.name: field.type for field in msgspec.structs.fields(type(fact))}
    return getattr(fact, head), kinds[head]


def causes_page() -> str:
    """Every cause: what it says, evidence, intervention and remedy."""
    from framepace.explaining.causes import CAUSES

    sections = []
    for cause in CAUSES:
        parts = [
            ("suspected when", doc(cause.suspect)),
            ("switched off by", doc(cause.probe)),
            ("remedy", doc(cause.remedy)),
            ("class", getattr(cause, "bottleneck", "")),
        ]
        body = table(("", ""), [part for part in parts if part[1]])
        sections += [f"## {cause.code}: {cause.title}\n", f"{doc(type(cause))}\n", body]
    sections += [part for code_, (title, text) in OBSERVED.items() for part in (f"## {code_}: {title}\n", f"{text}\n")]
    titles = {cause.code: cause.title for cause in CAUSES} | {code_: title for code_, (title, _) in OBSERVED.items()}
    rows = [(f"[{name}](#{slug(f'{name}: {title}')})", title) for name, title in titles.items()]
    overview = table(("code", "cause"), rows)
    intro = (
        "`explain` suspects a cause from what it measured, switches it off in interleaved runs, and reports it only "
        "when the whole interval of the change is below 1 and the effect at least 5 %. See "
        "[explain](../guides/explain.md)."
    )
    return page("Causes", intro, overview, *sections)


# What is certain without a trial: code, title and what it says.
OBSERVED = {
    "FP100": (
        "outputs are NaN or infinite",
        "Counted over all requests of the run. `framepace accuracy MODEL --precision ... --hunt` finds the first node "
        "that makes one.",
    ),
    "FP101": ("requests failed", "With the error of the first of them, and what to do about it."),
    "FP102": (
        "the model alone takes longer than the budget",
        "Back to back, with nothing around it. The best that any trial reached and the floor stand beside what is "
        "allowed, and whether a setting that was tried meets the budget. Its class is that of the bound which a trial "
        "proved.",
    ),
    "FP103": (
        "the server holds requests back to fill batches",
        "Of a model that a server runs (`--server`): a request that is alone, with nothing before it, waits in the "
        "server's queue. The remedy is there: a shorter wait for batches, or as many requests at once as a preferred "
        "batch holds.",
    ),
}


def cli_page() -> str:
    """Every command with its arguments and options."""
    from typer.main import get_command

    from framepace.cli.app import app

    sections = [section for name, command in commands(get_command(app)) for section in command_section(name, command)]
    intro = "Also `python -m framepace`. Every command takes `--help`. Exit codes: [exit codes](exit-codes.md)."
    return page("Commands", intro, *sections)


def commands(group: Any, prefix: str = "framepace") -> Iterator[tuple[str, Any]]:
    """All commands by their full name."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def command_section(name: str, command: Any) -> list[str]:
    """Heading, usage, sentence and options of a command."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    usage = " ".join([name, *(p.metavar or p.name.upper() for p in arguments), "[OPTIONS]"])
    rows = [(code(", ".join(p.opts)), option_type(p), option_default(p), p.help or "") for p in options]
    rows = [(code(p.metavar or p.name.upper()), "", "", p.help or "") for p in arguments] + rows
    header = ("", "takes", "default", "")
    return [f"## {name}\n", f"{command.help}\n", f"```text\n{usage}\n```\n", table(header, rows)]


def option_type(option: Any) -> str:
    """What an option takes."""
    if option.is_flag:
        return ""
    kind = option.type_descriptor.annotation
    if get_origin(kind) is list:
        return f"{option_words(get_args(kind)[0])}, repeatable"
    return option_words(kind)


def option_words(kind: Any) -> str:
    """The type of an option's value; whether it may be left out is in its default."""
    return type_text(kind).removesuffix(" or `none`")


def option_default(option: Any) -> str:
    """The default, if there is one worth showing."""
    default = option.default
    if default in (None, False, [], ()) or callable(default) or type(default).__name__ == "Sentinel":
        return ""
    return code(getattr(default, "value", default))


def trace_page() -> str:
    """The files of a trace and their columns."""
    from framepace.facts.trace import REQUEST_COLUMNS, TELEMETRY_COLUMNS, TRACE_FORMAT, TraceMeta

    def columns(named: Mapping[str, str]) -> str:
        return table(("column", "what it holds"), [(code(name), text) for name, text in named.items()])

    fields = [(code(f.encode_name), type_name(f.type)) for f in msgspec.structs.fields(TraceMeta)]
    intro = (
        f"A trace is a folder: `meta.json`, `requests.parquet` with one row per frame and model, and "
        f"`telemetry.parquet`. Format `{TRACE_FORMAT}`. Every column is int64; times are ns on one monotonic clock, "
        "and -1 means that a value was not measured. `pandas.read_parquet` reads both tables."
    )
    meta = ["## meta.json\n", f"{doc(TraceMeta)}\n", table(("field", "type"), fields)]
    requests = ["## requests.parquet\n", columns(REQUEST_COLUMNS), code_tables()]
    return page("Traces", intro, *requests, "## telemetry.parquet\n", columns(TELEMETRY_COLUMNS), *meta)


def code_tables() -> str:
    """The codes of the columns outcome, cause and marks."""
    from framepace.facts import trace

    parts = []
    for kind in (trace.Outcome, trace.DropCause, trace.Mark):
        rows = [(str(number), name or "none") for number, name in kind.NAMES.items()]
        parts += [f"### {kind.__name__}\n", f"{doc(kind)}\n", table(("code", "meaning"), rows)]
    return "\n".join(parts)


def exit_codes_page() -> str:
    """Exit codes and errors."""
    from framepace import errors

    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.FramepaceError)
    ]
    rows = [(code(kind.__name__), str(kind.exit_code), first(doc(kind))) for kind in kinds]
    intro = "Every command ends with one of these; with `--json` the answer of the first two is on standard output."
    text = "Each prints one sentence, what framepace got, what it expected and what to do, on standard error."
    return page("Exit codes and errors", intro, table(("code", "meaning"), EXIT_CODES), "## Errors\n", f"{text}\n",
                table(("error", "exit code", "when"), rows))  # fmt: skip


EXIT_CODES = [
    ("0", "done, and the answer is yes"),
    (
        "1",
        "done, and the answer is no: the budget is missed, B is slower, not one camera fits, the goal is not met, "
        "or every inference failed",
    ),
    ("2", "the command was wrong, or a model, video, backend or file could not be used"),
    ("130", "stopped by Ctrl-C; the measurements so far are kept, and the answer that they allow is given"),
    ("143", "the same by SIGTERM"),
    ("129", "the same by SIGHUP"),
]


def backends_page() -> str:
    """The backends and their options."""
    from framepace.backends.null import NullBackend
    from framepace.backends.onnxruntime.backend import OnnxRuntimeBackend
    from framepace.backends.simulated import SimulatedBackend
    from framepace.backends.tensorrt.backend import TensorRTBackend

    sections = [*map(backend_section, (OnnxRuntimeBackend, TensorRTBackend)), torch_section()]
    sections += map(backend_section, (SimulatedBackend, NullBackend))
    intro = "`--backend NAME`; options are set with `--set option.KEY=VALUE`. A backend refuses those it does not know."
    return page("Backends", intro, *sections)


def backend_section(backend: Any) -> str:
    """A backend with its options."""
    return option_table(backend.name, doc(backend), backend.options)


def torch_section() -> str:
    """PyTorch's: read from its source, because its module needs PyTorch, which the documentation does not."""
    source = ast.parse((ROOT / "src/framepace/backends/torch/backend.py").read_text(encoding="utf-8"))
    values = {ast.unparse(n.target): n.value for n in source.body if isinstance(n, ast.AnnAssign) and n.value}
    classes = {node.name: node for node in source.body if isinstance(node, ast.ClassDef)}
    options = ast.literal_eval(values["OPTIONS"])
    return option_table("torch", ast.get_docstring(classes["TorchBackend"]) or "", options)


def option_table(name: str, sentence: str, options: Mapping[str, str]) -> str:
    """Name, sentence and options of a backend."""
    rows = [(f"`option.{option}`", text) for option, text in options.items()]
    return "\n".join([f"## {name}\n", f"{sentence}\n", table(("option", "what it is"), rows)])


def library_page() -> str:
    """What `import framepace` offers: functions with signatures, options, and the records with their fields."""
    import framepace

    exported = {name: getattr(framepace, name) for name in framepace.__all__}
    functions = {name: thing for name, thing in exported.items() if inspect.isfunction(thing)}
    options = {name: thing for name, thing in exported.items() if is_typeddict(thing)}
    records = {name: thing for name, thing in exported.items() if is_record(thing)}
    parts = ["## Functions\n", *(function_text(name, function) for name, function in functions.items())]
    parts += ["## Options\n", *(f"### {name}\n\n{docstring(thing)}" for name, thing in options.items())]
    parts += ["## Records\n", "Frozen; fields by keyword.\n", *(record_text(n, r) for n, r in records.items())]
    intro = "One function per command. All are loaded when first used. See [from Python](../guides/library.md)."
    return page("Library", intro, *parts)


def is_record(thing: Any) -> bool:
    """Whether it is a record with fields."""
    return isinstance(thing, type) and (issubclass(thing, msgspec.Struct) or dataclasses.is_dataclass(thing))


def function_text(name: str, function: Callable[..., Any]) -> str:
    """A function with its signature."""
    return f"### framepace.{name}\n\n```python\n{signature(name, function)}\n```\n\n{docstring(function)}"


def record_text(name: str, record: Any) -> str:
    """A record with its fields."""
    rows = [(code(field), type_name(kind)) for field, kind in record_fields(record).items()]
    return f"### {name}\n\n{docstring(record)}\n{table(('field', 'type'), rows)}"


def record_fields(record: Any) -> dict[str, Any]:
    """The fields of a record with their types."""
    if dataclasses.is_dataclass(record):
        return {field.name: field.type for field in dataclasses.fields(record)}
    return {field.name: plain_type(field.type) for field in msgspec.structs.fields(record)}


PAGES: Mapping[str, Callable[[], str]] = {
    "settings": settings_page,
    "causes": causes_page,
    "cli": cli_page,
    "json": json_page,
    "trace": trace_page,
    "exit-codes": exit_codes_page,
    "backends": backends_page,
    "library": library_page,
}

if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "reference")
