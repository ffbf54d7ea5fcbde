"""What nodes that stay in FP32 cost: ways to run one model, measured in turn so that they share what else happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from msgspec.structs import replace

from framepace.analyze.summary import summarize
from framepace.facts.mending import Price
from framepace.facts.plan import Batching, ModelPlan
from framepace.facts.settings import Case
from framepace.facts.workload import Closed, Stop
from framepace.lab.lab import Lab
from framepace.progress import Tell
from framepace.units import NS_PER_MS

_ROUNDS = 3
_SECONDS = 1.0  # per way and round
_PRICED = 4  # islands, the largest first


def prices(case: Case, mixed: ModelPlan, islands: Sequence[Sequence[str]], tell: Tell) -> tuple[Price, ...]:
    """The latency per frame in FP32, with the kept nodes, without any, and without one island each.

    Args:
        case: with the sources and the seed.
        mixed: the plan in lower precision, with `fp32_nodes`.
        islands: its nodes in groups; the largest four are priced.
        tell: called with each step.

    Raises what loading and running raise: UsageError where the backend does not run the precision on its device.
    """
    largest = sorted(map(tuple, islands), key=len, reverse=True)[:_PRICED]
    ways = _ways(mixed, largest)
    times = _times(case, ways, tell)
    without = {_name(island): island for island in largest}
    return tuple(
        Price(
            name=name, precision=plan.precision, kept=plan.fp32_nodes, island=without.get(name, ()),
            p50_ms=median(times[name]),
        )
        for name, plan in ways.items()
    )  # fmt: skip


def _times(case: Case, ways: Mapping[str, ModelPlan], tell: Tell) -> Mapping[str, Sequence[float]]:
    """The latencies of each way by its name, one per round. What the backend refuses comes first: the last way."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    with Lab(engines=len(ways), tell=tell) as lab:
        for turn in range(_ROUNDS):
            for name in reversed(list(ways)):
                tell(f"measuring {name}", (turn + 1) / (_ROUNDS + 1))
                times[name].append(_latency_ms(lab, case, ways[name]))
    return times


def _ways(mixed: ModelPlan, islands: Sequence[Sequence[str]]) -> Mapping[str, ModelPlan]:
    """The plans by what they are called."""
    plain = replace(mixed, batch=Batching())
    ways = {
        "fp32": replace(plain, precision="fp32", fp32_nodes=(), calibration=None),
        "mixed": plain,
        mixed.precision: replace(plain, fp32_nodes=()),
    }
    if len(islands) > 1:
        for island in islands:
            kept = tuple(name for name in mixed.fp32_nodes if name not in island)
            ways[_name(island)] = replace(plain, fp32_nodes=kept)
    return ways


def _name(island: Sequence[str]) -> str:
    return f"mixed without {island[0]}"


def _latency_ms(lab: Lab, case: Case, plan: ModelPlan) -> float:
    """The median latency of the model alone, back to back."""
    source = replace(case.workload.input, videos=())  # which cannot be a folder of pictures, and is not needed
    workload = replace(case.workload, input=source, scope="model", load=Closed(), stop=Stop(seconds=_SECONDS))
    run = replace(case, plan=replace(case.plan, models=(plan,)), workload=workload)
    summary = summarize(lab.run(run, _SECONDS))
    middle = summary.frames.percentile(50)
    if middle is None or middle.estimate is None:
        return summary.frames.mean / NS_PER_MS
    return middle.estimate.value / NS_PER_MS
