"""The trace: one raw row per (frame, model), telemetry beside it, and the environment it was measured in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from msgspec import UNSET, UnsetType, field
from numpy.typing import NDArray

from framepace.errors import UsageError
from framepace.facts.base import Fact
from framepace.facts.failure import Failure
from framepace.facts.heldanswers import HeldAnswers
from framepace.facts.machine import Machine
from framepace.facts.model import Layer, ModelSpec
from framepace.facts.place import Site
from framepace.facts.plan import Plan
from framepace.facts.program import Program
from framepace.facts.served import ServerCounts
from framepace.facts.workload import Workload

TRACE_FORMAT = "framepace.trace/2"

# Every column is int64. Times are ns on one monotonic clock; -1 means 'not measured'.
REQUEST_COLUMNS: Mapping[str, str] = {
    "frame": "number of the frame over all sources, in order of arrival",
    "source": "index into meta.sources",
    "model": "index into meta.names",
    "worker": "index of the worker that ran it",
    "batch_id": "number of the inference; rows with one batch_id shared it",
    "batch_size": "frames in that inference",
    "due": "when the load says the frame should start",
    "available": "when the thread that takes the frame had finished the one before",
    "captured": "when that thread took it",
    "decoded": "when the picture was ready",
    "queued": "when it was in the buffer",
    "batched": "when a worker took it for this model",
    "started": "when its input was prepared and the inference began",
    "enqueued": "when the inference call returned to the host",
    "finished": "when the outputs were on the host",
    "delivered": "when its outputs were read and the finish hook had returned",
    "h2d": "device time of the copy to the device",
    "compute": "device time of the kernels",
    "d2h": "device time of the copy to the host",
    "h2d_at": "when the copy to the device began, by the device's clock, laid on the host's (within 20 us)",
    "compute_at": "when the kernels began, by the same clock",
    "d2h_at": "when the copy to the host began, by the same clock",
    "paint": "device time of the kernel that prepared the pictures of the inference (prepare-place=device)",
    "paint_at": "when that kernel began, by the same clock",
    "sm_clock_before": "SM clock in MHz when the worker took it",
    "sm_clock_after": "SM clock in MHz when the outputs were on the host",
    "cpu": "CPU time of the worker's thread from batched to delivered",
    "switched": "voluntary context switches of that thread in that span",
    "preempted": "involuntary context switches of that thread in that span",
    "faults": "page faults of that thread in that span (minor and major)",
    "gc": "garbage-collector time in that span",
    "outcome": "Outcome code",
    "cause": "DropCause code: why it was dropped or failed",
    "marks": "bit set of Mark",
}

TELEMETRY_COLUMNS: Mapping[str, str] = {
    "time": "when the sample was taken",
    "device": "index of the GPU, -1 for the host",
    "sm_clock_mhz": "SM clock",
    "memory_clock_mhz": "memory clock",
    "power_mw": "power",
    "temperature_c": "temperature",
    "utilisation": "per cent of time with any kernel running",
    "decoder_utilisation": "per cent of time in which the video decoders worked",
    "event_reasons": "NVML clock-event reasons, bit set",
    "pcie_rx_bytes_s": "bytes per second to the device",
    "pcie_tx_bytes_s": "bytes per second from the device",
    "sm_activity": "SMs active, per mille",
    "tensor_activity": "tensor cores active, per mille",
    "dram_activity": "DRAM bandwidth in use, per mille",
    "device_memory_bytes": "device memory in use",
    "pcie_generation": "generation of the PCIe link as it runs now",
    "pcie_lanes": "lanes of the PCIe link as it runs now",
    "energy_mj": "energy used since the driver was loaded, mJ",
    "cpu_mhz": "mean core frequency",
    "process_cpu": "CPU time of this process and its workers since start, ns",
    "system_busy": "CPU time of everybody since boot, on the cores that the process may use, ns",
    "switched": "voluntary context switches of this process since start",
    "preempted": "involuntary context switches of this process since start",
    "faults_minor": "minor page faults since start",
    "faults_major": "major page faults since start",
    "gc_count": "garbage collections since start",
    "gc": "garbage-collector time since start, ns",
    "memory_bytes": "resident memory of this process and its workers; what they share counts in each",
    "run_delay": "time runnable threads of this process and its workers waited for a core, ns since start",
    "threads": "threads of this process and its workers",
    "throttled": "time for which the CPU quota of the control group stopped it, ns since some start",
    "memory_stalled": "time in which tasks of the machine waited for memory, ns since boot",
    "io_stalled": "time in which tasks of the machine waited for disks, ns since boot",
}


class Outcome:
    """Codes of the column `outcome`. 1 is reserved; that a frame came late follows from its stamps."""

    OK = 0
    DROPPED = 2
    FAILED = 3
    NAMES: Mapping[int, str] = {OK: "ok", DROPPED: "dropped", FAILED: "failed"}


class DropCause:
    """Codes of the column `cause`: why a frame was dropped or failed. 5 and 6 are reserved."""

    NONE = 0
    BUFFER_FULL = 1
    STALE = 2
    BACKEND = 3
    HOOK = 4
    DEVICE = 7
    REMOVED = 8
    TOO_OLD = 9
    HUNG = 10
    ENDED = 11
    LOST = 12
    BEHIND = 13
    NAMES: Mapping[int, str] = {
        NONE: "",
        BUFFER_FULL: "buffer full",
        STALE: "stale",
        BACKEND: "inference failed",
        HOOK: "hook failed",
        DEVICE: "device lost",
        REMOVED: "source removed",
        TOO_OLD: "too old at the sink",
        HUNG: "worker hung",
        ENDED: "run ended",
        LOST: "engine lost",
        BEHIND: "not decoded in time",
    }


class Mark:
    """Bits of the column `marks`: reasons to doubt a sample. Marked samples are kept. 4 and 8 are reserved."""

    WARMUP = 1
    NAN = 2
    NAMES: Mapping[int, str] = {WARMUP: "warm-up", NAN: "output not finite"}


# How a run ended. 'rotated': the segment was full and the run went on in the next one. 'running': it has not ended
# yet; 'killed': it ended without closing its trace.
Stopped: TypeAlias = Literal[
    "running", "finished", "source ended", "rotated", "interrupted", "disk full", "device lost", "failed", "killed"
]
AS_PLANNED: tuple[Stopped, ...] = ("finished", "source ended", "rotated")

Column = NDArray[np.int64]


class TraceMeta(Fact, frozen=True, kw_only=True):
    """What must be known to read a trace: versions, machine, models, subject and workload.

    The subject is what ran: a plan (`subject_plan`, on disk `plan`) or a program (`subject_program`, on disk
    `program`); exactly one is set. `models` describes the model files, which a program's trace may lack.

    `startup` holds what was spent before the load began, in ns: 'models' until all were loaded, 'workers' until all
    workers were set up, and, within 'models', 'load NAME' and 'start NAME' (of its process). `notes` are sentences a
    reader must see (a truncated video, non-finite outputs); `stopped` is 'running' until the run closes it. `layers`
    holds, by model, how long each layer takes alone, where that was asked for. `batch_sizes` are those of models that
    do not run any number of frames: a batch is padded to the next. `placement` counts, by model, the nodes that run in
    each place ('cuda', 'cpu') where the library says. `failure` is the first inference that failed, if any did.
    `served` is what servers counted during the measured part, by model. `site` is the place of a cluster where it was
    measured, None where no cluster was asked for. `answers` are those of models whose settings may change them, held
    against the plain way.
    """

    id: str
    created: str
    machine: Machine
    models: tuple[ModelSpec, ...]
    subject_plan: Plan | UnsetType = field(default=UNSET, name="plan")
    workload: Workload
    sources: tuple[str, ...] = ()
    clock: Literal["monotonic", "virtual"] = "monotonic"
    simulated: bool = False
    stopped: Stopped = "running"
    warmup_stable: bool = True
    overhead: dict[str, float] = {}
    startup: dict[str, int] = {}
    notes: tuple[str, ...] = ()
    layers: dict[str, tuple[Layer, ...]] = {}
    placement: dict[str, dict[str, int]] = {}
    failure: Failure | None = None
    batch_sizes: dict[str, tuple[int, ...]] = {}
    served: dict[str, ServerCounts] = {}
    site: Site | None = None
    answers: tuple[HeldAnswers, ...] = ()
    format: str = TRACE_FORMAT
    framepace: str = ""
    subject_program: Program | UnsetType = field(default=UNSET, name="program")

    def __post_init__(self) -> None:
        if (self.subject_plan is UNSET) == (self.subject_program is UNSET):
            raise ValueError("a trace has either a plan or a program")

    @property
    def subject(self) -> Plan | Program:
        """What ran."""
        if self.subject_program is not UNSET:
            return self.subject_program
        return self.plan

    @property
    def plan(self) -> Plan:
        """The plan that ran. Raises UsageError for the trace of a program."""
        if self.subject_plan is UNSET:
            got = f"the trace {self.id} of a program: {', '.join(self.names)}"
            fix = "name a trace that `framepace bench` measured, or models"
            raise UsageError("this needs the trace of a plan", got=got, fix=fix)
        return self.subject_plan

    @property
    def is_plan(self) -> bool:
        """Whether the subject is a plan."""
        return self.subject_plan is not UNSET

    @property
    def is_log(self) -> bool:
        """Whether the trace was made from a log that somebody else's program wrote."""
        return self.subject_program is not UNSET and bool(self.subject_program.log)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the subject's models, which the column 'model' of the requests counts."""
        return self.subject.names

    @property
    def whole(self) -> bool:
        """Whether the run ended as planned."""
        return self.stopped in AS_PLANNED


@dataclass(frozen=True)
class Trace:
    """A measurement: `meta`, and `requests` and `telemetry` as equal-length int64 columns by name."""

    meta: TraceMeta
    requests: Mapping[str, Column]
    telemetry: Mapping[str, Column]

    def __len__(self) -> int:
        return len(self.requests["due"])

    def where(self, keep: NDArray[np.bool_]) -> Trace:
        """The same trace with only the request rows for which `keep` (length: rows) is true."""
        return Trace(self.meta, {name: column[keep] for name, column in self.requests.items()}, self.telemetry)

    def measured(self, model: str | None = None) -> Trace:
        """Rows that count for latency: past warm-up, delivered, of one model when named.

        Rows of a model that the subject does not have are damage, and count nowhere.
        """
        keep = self.counted
        if model is not None:
            keep &= self.requests["model"] == self.meta.names.index(model)
        return self.where(keep)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which request rows count for latency, shape (rows,); see `measured`."""
        r = self.requests
        keep = ((r["marks"] & Mark.WARMUP) == 0) & (r["outcome"] == Outcome.OK)
        keep &= (r["model"] >= 0) & (r["model"] < len(self.meta.names))
        return np.asarray(keep)

    @property
    def latency(self) -> Column:
        """Latency of each row in ns, counted from `due`."""
        return self.requests["delivered"] - self.requests["due"]


def table(columns: Sequence[str] | Mapping[str, Any], rows: NDArray[np.int64]) -> dict[str, Column]:
    """Rows (n x len(columns)) as contiguous columns by name."""
    return {name: np.ascontiguousarray(rows[:, i]) for i, name in enumerate(columns)}
