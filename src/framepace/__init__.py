"""framepace: why a neural network on video misses its frame budget, proven by intervention, and fixed.

One function per verb: `bench`, `explain`, `sweep`, `tune`, `capacity`, `accuracy`, `layers`, `compare`, `report`,
`doctor`, `attach`, `launch`, `run`; `start` for a run that goes on beside the caller, `hunt`, `rank`, `mend` and
`calibrate` for lower precisions, `export`, `verify_export` and `import_triton` for other servers, `fleet_capacity` for
many hosts, `explain_program` for trials in a program of one's own, `frame` and `stage` to name what it does,
`explain_log` for its trace or log, `summary` of a trace, and `make_case` for what several of them take. Beside them
stand the records that they take and return, and the errors. Everything is loaded when it is first used, so that
importing framepace costs nothing.
"""

from __future__ import annotations

import os

# ONNX Runtime's own telemetry, which it starts when it is imported, here and in child processes.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

TYPE_CHECKING = False  # as typing has it, whose import takes longer than all before a program listens to Ctrl-C
if TYPE_CHECKING:
    from framepace.api import (
        accuracy,
        attach,
        bench,
        calibrate,
        capacity,
        compare,
        doctor,
        explain,
        explain_log,
        explain_program,
        hunt,
        launch,
        layers,
        make_case,
        mend,
        predictor,
        rank,
        report,
        serve,
        summary,
        sweep,
        tune,
    )
    from framepace.attaching.program import Observation
    from framepace.cases import CaseOptions, Models, RunOptions
    from framepace.deploying import run, start
    from framepace.errors import (
        BackendError,
        DeviceLost,
        DeviceMemoryError,
        FramepaceError,
        ModelError,
        NotEnoughSamples,
        PlanError,
        SourceError,
        StoreError,
        UsageError,
    )
    from framepace.exchanging import export, import_triton, verify_export
    from framepace.exporting.importing import Imported
    from framepace.facts.accuracy import AccuracyCheck, Agreement, Gate, OutputAgreement
    from framepace.facts.calibrating import CalibrationStudy
    from framepace.facts.capacity import Capacity
    from framepace.facts.check import Check
    from framepace.facts.exported import Exported, SettingAnswer
    from framepace.facts.finding import Explanation, Finding
    from framepace.facts.fleetsize import FleetSize
    from framepace.facts.inputs import Inputs, Window
    from framepace.facts.layers import Exploration
    from framepace.facts.log import LogExplanation
    from framepace.facts.mending import Hunt, Mended, Ranking
    from framepace.facts.plan import Batching, EnginePlan, ModelPlan, Plan, Prepare, SourcePolicy, Target
    from framepace.facts.programtrial import ProgramExplanation, ProgramTrial
    from framepace.facts.running import Result, RunStatus, SinkStatus, SourceSpec, SourceStatus
    from framepace.facts.settings import Case
    from framepace.facts.summary import Comparison, Summary
    from framepace.facts.sweep import Sweep
    from framepace.facts.trace import Trace
    from framepace.facts.tuning import Candidate, Goal, Tuning
    from framepace.facts.verified import Verification
    from framepace.facts.workload import Burst, Closed, Delay, Input, Paced, Poisson, Replay, Stop, Warmup, Workload
    from framepace.fleetsizing import fleet_capacity
    from framepace.marks import frame, stage
    from framepace.store import load_explanation, load_plan, load_trace, save_plan

__version__ = "0.2.0"

# What is exported, by the module that has it.
_EXPORTS = {
    "api": "accuracy attach bench calibrate capacity compare doctor explain explain_log explain_program hunt "
    "launch layers make_case mend predictor rank report serve summary sweep tune",
    "cases": "CaseOptions Models RunOptions",
    "deploying": "run start",
    "exchanging": "export import_triton verify_export",
    "errors": "BackendError DeviceLost DeviceMemoryError FramepaceError ModelError NotEnoughSamples PlanError "
    "SourceError StoreError UsageError",
    "attaching.program": "Observation",
    "facts.accuracy": "AccuracyCheck Agreement Gate OutputAgreement",
    "facts.calibrating": "CalibrationStudy",
    "facts.capacity": "Capacity",
    "facts.check": "Check",
    "exporting.importing": "Imported",
    "facts.exported": "Exported SettingAnswer",
    "facts.verified": "Verification",
    "facts.finding": "Explanation Finding",
    "facts.fleetsize": "FleetSize",
    "facts.inputs": "Inputs Window",
    "facts.log": "LogExplanation",
    "facts.layers": "Exploration",
    "facts.mending": "Hunt Mended Ranking",
    "facts.programtrial": "ProgramExplanation ProgramTrial",
    "facts.plan": "Batching EnginePlan ModelPlan Plan Prepare SourcePolicy Target",
    "facts.running": "Result RunStatus SinkStatus SourceSpec SourceStatus",
    "facts.settings": "Case",
    "facts.summary": "Comparison Summary",
    "facts.sweep": "Sweep",
    "facts.trace": "Trace",
    "facts.tuning": "Candidate Goal Tuning",
    "facts.workload": "Burst Closed Delay Input Paced Poisson Replay Stop Warmup Workload",
    "fleetsizing": "fleet_capacity",
    "marks": "frame stage",
    "store": "load_explanation load_plan load_trace save_plan",
}
_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names.split()}

__all__ = [
    "AccuracyCheck",
    "Agreement",
    "BackendError",
    "Batching",
    "Burst",
    "CalibrationStudy",
    "Candidate",
    "Capacity",
    "Case",
    "CaseOptions",
    "Check",
    "Closed",
    "Comparison",
    "Delay",
    "DeviceLost",
    "DeviceMemoryError",
    "EnginePlan",
    "Explanation",
    "Exploration",
    "Exported",
    "Finding",
    "FleetSize",
    "FramepaceError",
    "Gate",
    "Goal",
    "Hunt",
    "Imported",
    "Input",
    "Inputs",
    "LogExplanation",
    "Mended",
    "ModelError",
    "ModelPlan",
    "Models",
    "NotEnoughSamples",
    "Observation",
    "OutputAgreement",
    "Paced",
    "Plan",
    "PlanError",
    "Poisson",
    "Prepare",
    "ProgramExplanation",
    "ProgramTrial",
    "Ranking",
    "Replay",
    "Result",
    "RunOptions",
    "RunStatus",
    "SettingAnswer",
    "SinkStatus",
    "SourceError",
    "SourcePolicy",
    "SourceSpec",
    "SourceStatus",
    "Stop",
    "StoreError",
    "Summary",
    "Sweep",
    "Target",
    "Trace",
    "Tuning",
    "UsageError",
    "Verification",
    "Warmup",
    "Window",
    "Workload",
    "accuracy",
    "attach",
    "bench",
    "calibrate",
    "capacity",
    "compare",
    "doctor",
    "explain",
    "explain_log",
    "explain_program",
    "export",
    "fleet_capacity",
    "frame",
    "hunt",
    "import_triton",
    "launch",
    "layers",
    "load_explanation",
    "load_plan",
    "load_trace",
    "make_case",
    "mend",
    "predictor",
    "rank",
    "report",
    "run",
    "save_plan",
    "serve",
    "stage",
    "start",
    "summary",
    "sweep",
    "tune",
    "verify_export",
]


if not TYPE_CHECKING:  # or every name would be one for type checkers

    def __getattr__(name: str) -> object:
        if name not in _MODULE_OF:
            raise AttributeError(f"module 'framepace' has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f"framepace.{_MODULE_OF[name]}"), name)
        globals()[name] = value  # the next time it is found without this function
        return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
