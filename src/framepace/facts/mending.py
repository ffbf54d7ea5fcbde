"""Where a lower precision goes wrong in a network, and what keeps it right: nodes, faults, rankings, mended models."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from framepace.facts.accuracy import Agreement, OnFrames
from framepace.facts.base import Fact
from framepace.facts.bounded import Positive
from framepace.facts.plan import ModelPlan

_Count = Annotated[int, Meta(ge=0)]
# Why a node makes a NaN or an infinity in a precision that FP32 does not make.
Fault = Literal["overflow", "accumulation", "exp", "underflow", "division", "log", "invalid"]


class NetworkNode(Fact, frozen=True, kw_only=True):
    """A node as the converter sees it: its name in the file, or `made_from` the names of those that became it."""

    name: str
    operator: str
    made_from: tuple[str, ...] = ()


class ValueRange(Fact, frozen=True, kw_only=True):
    """The range of finite values of a tensor in FP32; `zeros` and `nonfinite` are counts, as the precision has them."""

    tensor: str
    lowest: float
    highest: float
    zeros: _Count = 0
    nonfinite: _Count = 0


class Hunted(Fact, frozen=True, kw_only=True):
    """The first node that makes a NaN or an infinity in the precision, and where it shows.

    `node` is where it goes wrong: where values become zero (`fault` 'underflow'), that is before the node that `shows`
    it, which divides by them. `read` and `made` are ranges in FP32. `at_output`: whether an output is not finite;
    otherwise it stays inside (an infinity that a later Softmax or Clip makes harmless).
    """

    node: NetworkNode
    shows: NetworkNode
    fault: Fault
    frame: _Count
    read: tuple[ValueRange, ...]
    made: ValueRange
    sum: float | None = None
    at_output: bool


class Hunt(OnFrames, frozen=True, kw_only=True):
    """The hunt for NaN and infinity: `faults` in the order of the graph, the one to blame first; none: all finite.

    `largest` is the precision's largest number. `notes` say what was not looked at.
    """

    model: ModelPlan
    frames: Positive
    nodes: Positive
    largest: float
    faults: tuple[Hunted, ...] = ()
    notes: tuple[str, ...] = ()


class NodeError(Fact, frozen=True, kw_only=True):
    """What one node costs: the error of the outputs with it alone in the precision.

    `error` is the relative L2 error of the output that suffers most, over the frames, infinity as None with `finite`
    False. None and finite: it was not tried alone, since its whole `block` has the error that the block says.
    `reach` is the largest magnitude that it reads or makes, in FP32.
    """

    node: NetworkNode
    block: _Count
    error: float | None = None
    finite: bool = True
    reach: float | None = None


class Block(Fact, frozen=True, kw_only=True):
    """Neighbouring nodes tried together: their error, and that of all up to here (`cumulative`); None: not finite."""

    first: str
    last: str
    nodes: Positive
    error: float | None = None
    cumulative: float | None = None


class Ranking(OnFrames, frozen=True, kw_only=True):
    """The nodes of a network by what they cost in the precision, the worst first.

    `error` has all of them in it (None: not finite), `limit` is what the gate allows. `complete` is False where it was
    stopped before all was tried. `page` is the path of the page, where one was written.
    """

    model: ModelPlan
    frames: Positive
    limit: float | None
    error: float | None
    blocks: tuple[Block, ...]
    nodes: tuple[NodeError, ...]
    complete: bool = True
    tries: _Count = 0
    page: str | None = None
    notes: tuple[str, ...] = ()


class Price(Fact, frozen=True, kw_only=True):
    """The median latency of one way to run the model, in ms per frame, measured in turn with the others in one run.

    `kept` are the nodes that it has in FP32: none, all that the gate needs, or all of them but one `island`.
    """

    name: str
    precision: str
    kept: tuple[str, ...] = ()
    island: tuple[str, ...] = ()
    p50_ms: float


class Mended(OnFrames, frozen=True, kw_only=True):
    """The smallest set of nodes that must stay in FP32 so that the gate holds, and what it costs.

    `kept` are those nodes, empty where none has to; `islands` the same in groups that hang together. `before` is how
    far the precision agrees without them, `searched` with them on the frames of the search, `held_out` on frames that
    the search has not seen; all three are emulated. `as_run` is how far the library's own outputs agree with them, on
    all frames, where its device runs the precision. `path` is the mixed ONNX file, where one was written. `minimal`:
    leaving out any one node breaks the gate. `out_of_time`: the search ended at its time limit, with the smallest set
    by then. `refused`: no set was found; `kept` is the largest that was not enough, at most half of the nodes, those
    that cost most, and `searched` what they reach. `tries` are sets of nodes, `runs` how often the network was run.
    """

    model: ModelPlan
    kept: tuple[NetworkNode, ...]
    islands: tuple[tuple[str, ...], ...] = ()
    nodes: Positive
    before: Agreement
    searched: Agreement
    held_out: Agreement | None = None
    as_run: Agreement | None = None
    minimal: bool = True
    complete: bool = True
    out_of_time: bool = False
    refused: bool = False
    tries: _Count = 0
    runs: _Count = 0
    path: str | None = None
    prices: tuple[Price, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def unjudged(self) -> bool:
        """Whether the frames say nothing of the precision: no values, or none that could differ."""
        return not self.kept and self.before.says_nothing

    @property
    def found_nothing(self) -> bool:
        """Whether no set of nodes is known: refused, not judged, or stopped with all or none though the gate breaks."""
        if self.refused or self.unjudged:
            return True
        return len(self.kept) in (0, self.nodes) and not self.complete and not self.before.passed

    @property
    def holds(self) -> bool:
        """Whether the gate holds, as the library runs it where it does, and on frames that the search has not seen."""
        if self.refused or (self.as_run is not None and not self.as_run.passed):
            return False
        if not self.kept:
            return self.before.passed
        if self.held_out is not None and not self.held_out.says_nothing:
            return self.held_out.passed
        return self.searched.passed
