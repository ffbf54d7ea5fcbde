"""FP026: the machine is short of memory: pages of the process have to come back from disk."""

from __future__ import annotations

from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import MEAN_LATENCY, TAIL
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.units import NS_PER_S

_FAULTS_PER_FRAME = 0.02  # each waits for a disk
_STALLED = 0.02  # of the time, for any task of the machine (pressure stall information)
_SHARE = 0.5
_BLOCK_REQUESTS = 100
_CHANGE = {"lock-memory": True}


class MemoryShort:
    """What the model needs was swapped out, or its file's pages dropped, and a frame waits until they are read."""

    code = "FP026"
    title = "the machine is short of memory"
    bottleneck: Bottleneck = "host"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Major page faults during the stream: pages read from a disk; the more where tasks waited for memory."""
        frames = max(evidence.summaries["stream"].throughput, 1e-9)
        faults = evidence.rate("faults_major") / frames
        stalled = evidence.rate("memory_stalled") / NS_PER_S
        if faults < _FAULTS_PER_FRAME:
            return None
        sentence = f"{faults:.2g} pages per frame were read from disk"
        if stalled >= _STALLED:
            sentence += f"; tasks of this machine waited for memory {stalled:.0%} of the time"
        return Suspicion(sentence, {"major_faults_per_frame": faults, "memory_stalled": stalled}, _SHARE)

    def probe(self, evidence: Evidence) -> Probe | tuple[Probe, ...] | str:
        """All pages of the process locked in memory.

        Judged on the slowest frames, and on the mean where these are too few for a verdict.
        """
        if evidence.case.plan.engine.lock_memory:
            return "memory is locked already: files that are read are not (a video, a disk that others use)"
        base = evidence.kept_up("stream")
        return tuple(Probe(base, dict(_CHANGE), metric, fewest=_BLOCK_REQUESTS) for metric in (TAIL, MEAN_LATENCY))

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """The same setting; memory that others take has to be freed by a person."""
        text = "lock the process's memory, and free some: other processes, smaller batches, fewer workers"
        return Remedy(text=text, plan=dict(_CHANGE), cost="others are swapped out instead")
