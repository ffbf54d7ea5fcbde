"""From sources and a plan's policies to a feed; the caller says when frames are due."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from framepace.errors import UsageError
from framepace.facts.cascade import roots
from framepace.facts.plan import ModelPlan, Plan, SourcePolicy
from framepace.feeds.arrivals import Arrivals, Interleaved, Lane
from framepace.feeds.batchrules import NEVER, BatchRule, DeadlineRule
from framepace.feeds.deadline import DeadlineBatcher, DeadlineFeed
from framepace.feeds.feed import Feed, OnDrop, OnQueue, PictureSource
from framepace.feeds.inline import InlineFeed
from framepace.feeds.inorder import InOrderFeed
from framepace.feeds.pacer import Pacer
from framepace.feeds.stream import StreamFeed
from framepace.feeds.window import WindowBatcher
from framepace.units import NS_PER_MS


def build_feed(
    plan: Plan,
    sources: Sequence[PictureSource],
    arrivals: Sequence[Arrivals] | None,
    pacer: Pacer,
    on_drop: OnDrop,
    *,
    threads: bool,
    share: tuple[int, int] = (0, 1),
) -> Feed:
    """A feed of `sources` with the plan's batching and buffers; `pacer` waits, and its run state learns what ends.

    Args:
        arrivals: when the frames of each source are due; None where all are live, which then have threads.
        on_drop: receives every frame that is discarded.
        threads: each source has a thread that reads ahead; otherwise the workers read.
        share: (i, n): only every n-th frame, from the i-th, for one of n processes that read for themselves. A bulk
            load is not shared out.

    Raises:
        UsageError: the batching contradicts the plan's target, or a source that is not live has no arrivals.
    """
    _check_pace(sources, arrivals)
    return in_order(plan, _feed(plan, sources, arrivals, pacer, on_drop, threads, share), pacer)


def changing_feed(plan: Plan, pacer: Pacer, on_drop: OnDrop, on_queue: OnQueue, *, stays: bool) -> StreamFeed:
    """A feed without sources, to which live ones are added, with the plan's batching (see StreamFeed).

    Raises UsageError where the batching contradicts the plan's target.
    """
    batcher = deadline_batcher(plan, None)
    pacer.state.batches = batcher
    return StreamFeed(
        [],
        None,
        batcher or WindowBatcher(batch_rule(plan)),
        plan.source,
        pacer,
        on_drop,
        on_queue=on_queue,
        stays=stays,
    )


def in_order(plan: Plan, feed: Feed, pacer: Pacer) -> Feed:
    """The feed itself, or one that holds frames back until those before them are delivered, for models with states."""
    if any(model.inputs.states for model in plan.models):
        return InOrderFeed(feed, pacer)
    return feed


def _feed(
    plan: Plan,
    sources: Sequence[PictureSource],
    arrivals: Sequence[Arrivals] | None,
    pacer: Pacer,
    on_drop: OnDrop,
    threads: bool,
    share: tuple[int, int],
) -> Feed:
    batcher = deadline_batcher(plan, arrivals)
    pacer.state.batches = batcher
    rule, policy = _rules(plan, sources, arrivals)
    if arrivals is None or threads:
        return StreamFeed(sources, arrivals, batcher or WindowBatcher(rule), policy, pacer, on_drop)
    if batcher is not None:
        return DeadlineFeed(sources, _lanes(arrivals, share), batcher, pacer)
    return InlineFeed(sources, _merged(arrivals, share), rule, pacer)


def _lanes(arrivals: Sequence[Arrivals], share: tuple[int, int]) -> list[Lane]:
    return [Lane(part, *share) for part in arrivals]


def _rules(
    plan: Plan, sources: Sequence[PictureSource], arrivals: Sequence[Arrivals] | None
) -> tuple[BatchRule, SourcePolicy]:
    """How frames are batched, and what a full buffer does; where they come in batches, each is waited for."""
    rule = batch_rule(plan)
    if not _comes_in_batches(sources, arrivals):
        return rule, plan.source
    return BatchRule(rule.size, window=NEVER), replace(plan.source, drop="never", stale_ms=None)


def _comes_in_batches(sources: Sequence[PictureSource], arrivals: Sequence[Arrivals] | None) -> bool:
    """Whether frames are asked for by whole batches, as in a closed loop; live sources send theirs as they come.

    Then a batch goes when it is complete, whoever reads it, and nothing that was asked for is dropped.
    """
    return arrivals is not None and arrivals[0].bulk and not any(source.live for source in sources)


def _check_pace(sources: Sequence[PictureSource], arrivals: Sequence[Arrivals] | None) -> None:
    if arrivals is None and not all(source.live for source in sources):
        raise UsageError("only live sources bring their own pace", got="a file without arrivals", fix="give it a rate")


def _merged(arrivals: Sequence[Arrivals], share: tuple[int, int]) -> Arrivals:
    """The frames of all sources in order; of a load that is not bulk, those of this process."""
    merged: Arrivals = arrivals[0] if len(arrivals) == 1 else Interleaved(arrivals)
    if merged.bulk or share == (0, 1):
        return merged
    return Lane(merged, *share)


def _on_pictures(plan: Plan) -> list[ModelPlan]:
    """The models that run on whole pictures: the batches of the others are of boxes in those."""
    return [plan.models[index] for index in roots(plan.models)]


def batch_rule(plan: Plan) -> BatchRule:
    """How frames are batched for all models: the largest batch and window of any of them, within the budget."""
    models = _on_pictures(plan)
    size = max(model.batch.max for model in models)
    window = max(model.batch.window_ms for model in models)
    budget_ns = None
    if plan.target.budget_ms is not None:
        budget_ns = round(plan.target.budget_ms * NS_PER_MS)
    return BatchRule(size, round(window * NS_PER_MS), budget_ns)


def deadline_rule(plan: Plan) -> DeadlineRule:
    """How frames of all models are batched by deadline: the largest batch, and the sizes that any of them prefers.

    Raises UsageError without a target, or where a preferred size is over the largest batch.
    """
    models = _on_pictures(plan)
    size = max(model.batch.max for model in models)
    budget = plan.target.budget_ms
    if budget is None:
        fix = "give the plan a target: --fps or --p99-ms"
        raise UsageError("batch-policy deadline needs a deadline", got="a plan without a target", fix=fix)
    sizes = sorted({size for model in models for size in model.batch.sizes})
    if sizes and sizes[-1] > size:
        raise UsageError("a preferred batch size is over the largest batch", got=sizes[-1], expected=f"at most {size}")
    return DeadlineRule(size, round(budget * NS_PER_MS), tuple(sizes))


def deadline_batcher(plan: Plan, arrivals: Sequence[Arrivals] | None) -> DeadlineBatcher | None:
    """For the policy 'deadline'; none where whole batches are due together, since there is nothing to wait for."""
    if all(model.batch.policy == "window" for model in _on_pictures(plan)):
        return None
    if arrivals is not None and arrivals[0].bulk:
        return None
    return DeadlineBatcher(deadline_rule(plan))
