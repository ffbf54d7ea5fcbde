"""The known causes, one small file each, in the order of their codes."""

from __future__ import annotations

from framepace.explaining.causes.blocking_hook import BlockingHook
from framepace.explaining.causes.clocks_fall import ClocksFall
from framepace.explaining.causes.cold_caches import ColdCaches
from framepace.explaining.causes.compute_bound import ComputeBound
from framepace.explaining.causes.cpu_nodes import CpuNodes
from framepace.explaining.causes.decode_inline import DecodeInline
from framepace.explaining.causes.few_threads import FewThreads
from framepace.explaining.causes.host_sleep import HostSleep
from framepace.explaining.causes.idle_spin import IdleSpin
from framepace.explaining.causes.interpreter_lock import InterpreterLock
from framepace.explaining.causes.large_batch import LargeBatch
from framepace.explaining.causes.late_stage import LateStage
from framepace.explaining.causes.launch_bound import LaunchBound
from framepace.explaining.causes.live_backlog import LiveBacklog
from framepace.explaining.causes.memory_bound import MemoryBound
from framepace.explaining.causes.memory_short import MemoryShort
from framepace.explaining.causes.new_sizes import NewSizes
from framepace.explaining.causes.not_the_model import NotTheModel
from framepace.explaining.causes.oversubscribed import Oversubscribed
from framepace.explaining.causes.own_queue import OwnQueue
from framepace.explaining.causes.power_cap import PowerCap
from framepace.explaining.causes.precision import HighPrecision
from framepace.explaining.causes.serialised import Serialised
from framepace.explaining.causes.shape_arithmetic import ShapeArithmetic
from framepace.explaining.causes.slow_way import SlowWay
from framepace.explaining.causes.stalls import Stalls
from framepace.explaining.causes.throttled import Throttled
from framepace.explaining.causes.transfer_bound import TransferBound
from framepace.explaining.causes.under_filled import UnderFilled
from framepace.explaining.causes.uneven_batch import UnevenBatch
from framepace.explaining.causes.unfilled_batches import UnfilledBatches
from framepace.explaining.hypothesis import Hypothesis

CAUSES: tuple[Hypothesis, ...] = (
    ClocksFall(),
    HostSleep(),
    ColdCaches(),
    PowerCap(),
    LaunchBound(),
    TransferBound(),
    MemoryBound(),
    ComputeBound(),
    UnderFilled(),
    Serialised(),
    NotTheModel(),
    Oversubscribed(),
    IdleSpin(),
    InterpreterLock(),
    Stalls(),
    CpuNodes(),
    LateStage(),
    OwnQueue(),
    UnfilledBatches(),
    FewThreads(),
    LiveBacklog(),
    DecodeInline(),
    ShapeArithmetic(),
    BlockingHook(),
    NewSizes(),
    MemoryShort(),
    Throttled(),
    HighPrecision(),
    LargeBatch(),
    UnevenBatch(),
    SlowWay(),
)
