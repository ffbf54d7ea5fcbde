"""FP024: a hook waits for something outside on some frames: a disk, a network, a lock."""

from __future__ import annotations

import numpy as np

from framepace.explaining.evidence import Evidence
from framepace.explaining.hookstages import (
    ADVICE,
    WAITS,
    is_felt,
    main_growth,
    stage_left_out,
    waiting_share,
    worth,
)
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.units import NS_PER_S

_STALLED = 0.02  # of the time, from which the machine's disks are named


class BlockingHook:
    """What a hook hands its results to (a file, a database, a socket) takes them late, and the worker waits with it."""

    code = "FP024"
    title = "a hook waits for something outside"
    bottleneck: Bottleneck = "host"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Late frames are late in a hook's stage, and the worker used no CPU time for half of that."""
        growth = main_growth(evidence.late)
        if growth is None or not is_felt(growth, evidence):
            return None
        waits = waiting_share(evidence, growth)
        if waits < WAITS:
            return None
        stalled = evidence.rate("io_stalled") / NS_PER_S
        numbers = {"stage": growth.stage, "more_ns": growth.more, "waiting_share": waits, "disk_stalled": stalled}
        sentence = f"late frames take {growth.more / 1e6:.3g} ms more in {growth.stage}, {waits:.0%} of it waiting"
        if stalled >= _STALLED:
            sentence += f"; tasks of this machine waited for its disks {stalled:.0%} of the time"
        return Suspicion(sentence, numbers, worth(growth, evidence))

    def probe(self, evidence: Evidence) -> Probe | str:
        """The hook left out, judged on the slowest frames; back to back, but for live sources."""
        return stage_left_out(evidence)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """Another worker that goes on meanwhile, where frames queue behind the wait; else advice for the hook."""
        growth = main_growth(evidence.late)
        assert growth is not None
        text = f"{ADVICE[growth.stage]}; a queue with a limit between them, so that memory stays bounded"
        if growth.more < (evidence.period or np.inf):
            return Remedy(text=text)
        workers = {"workers": evidence.case.plan.engine.workers + 1}
        cost = "frames may be finished out of order; memory for one more context each"
        return Remedy(text=f"let another worker go on meanwhile; better: {text}", plan=workers, cost=cost)
