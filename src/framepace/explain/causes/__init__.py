"""The known causes, one small file each, in the order of their codes."""

from __future__ import annotations

from framepace.explain.cause import Cause
from framepace.explain.causes.cold_caches import ColdCaches
from framepace.explain.causes.compute_bound import ComputeBound
from framepace.explain.causes.host_sleep import HostSleep
from framepace.explain.causes.idle_spin import IdleSpin
from framepace.explain.causes.interpreter_lock import InterpreterLock
from framepace.explain.causes.not_the_model import NotTheModel
from framepace.explain.causes.oversubscribed import Oversubscribed
from framepace.explain.causes.stalls import Stalls
from framepace.explain.causes.under_filled import UnderFilled

CAUSES: tuple[Cause, ...] = (
    HostSleep(),
    ColdCaches(),
    ComputeBound(),
    UnderFilled(),
    NotTheModel(),
    Oversubscribed(),
    IdleSpin(),
    InterpreterLock(),
    Stalls(),
)
