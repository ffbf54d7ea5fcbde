"""The view-model of engines: their layers as rows of text with the values to sort by, and a sentence on the whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from framepace.facts.layers import EngineLayer, EngineView, Exploration, LayerMatch
from framepace.reporting.views.roofline import with_prefix
from framepace.reporting.views.text import optional, share
from framepace.units import format_bytes, format_ms, format_quantity

Key = float | str | None
ONE_COLUMNS = (
    "layer", "operation", "precision", "on", "output", "time", "share", "operations", "moved", "floor", "x floor",
    "limit",
)  # fmt: skip
TWO_COLUMNS = ("layer of A", "layer of B", "operation", "precision", "A", "B", "B - A", "B/A", "matched by")
FACETS_OF_ONE = ("operation", "precision", "on", "limit")
FACETS_OF_TWO = ("operation", "precision", "matched by")
SIDES = "AB"
_HEAD_SHARE = 0.3  # of what is shown of a long name: what tells layers apart is rather at its end
_OF_OUTPUT = re.compile(r"(_output_\d+)?(_nchwc)?$")  # what exporters and ONNX Runtime append to a node's name
_REPEATED = re.compile(r"(?<=/)([^/]+)/(?=\1\.)")  # PyTorch's exporter names a list and then its item: blocks/blocks.3
_IN_TITLE = ("backend", "device", "precision", "batch")
_SUM = {True: "sum of layers", False: "sum of timed layers"}


@dataclass(frozen=True)
class LayerRow:
    """One line of the table: texts and sort keys by column, and the layers of each engine that it stands for."""

    texts: tuple[str, ...]
    keys: tuple[Key, ...]
    a: tuple[int, ...] = ()
    b: tuple[int, ...] = ()
    more: str = ""


@dataclass(frozen=True)
class LayersView:
    """One engine, or two side by side: the heading, what is said of each, and the rows, the longest first."""

    heading: str
    titles: tuple[str, ...]
    numbers: tuple[tuple[tuple[str, str], ...], ...]
    columns: tuple[str, ...]
    facets: tuple[str, ...]
    rows: tuple[LayerRow, ...]
    notes: tuple[str, ...] = field(default=())


def plain_name(name: str) -> str:
    """A layer's name without what says nothing on it: '/blocks/blocks.3/Conv_output_0_nchwc' is '/blocks.3/Conv'."""
    return _OF_OUTPUT.sub("", _REPEATED.sub("", name), count=1) or name


def middle_cut(name: str, width: int) -> str:
    """The beginning and the end of a name that is longer than `width`."""
    if len(name) <= width:
        return name
    head = round(_HEAD_SHARE * width)
    return f"{name[:head]}…{name[head + 1 - width :]}"


def layers_view(exploration: Exploration) -> LayersView:
    """The engines as people read them."""
    engines = exploration.engines
    notes = [
        f"{title}: {note}" for engine, title in zip(engines, _titles(engines), strict=True) for note in engine.notes
    ]
    two = len(engines) > 1
    return LayersView(
        heading=_compared(exploration) if two else _heading(engines[0]),
        titles=_titles(engines),
        numbers=tuple(tuple(_numbers(engine)) for engine in engines),
        columns=TWO_COLUMNS if two else ONE_COLUMNS,
        facets=FACETS_OF_TWO if two else FACETS_OF_ONE,
        rows=_rows_of_two(exploration) if two else _rows_of_one(engines[0]),
        notes=tuple(notes),
    )


def _titles(engines: Sequence[EngineView]) -> tuple[str, ...]:
    """'resnet50: onnxruntime, cpu, fp32, batch 4'; with two engines 'A: ' or 'B: ' before it."""
    texts = [_title(engine) for engine in engines]
    if len(texts) == 1:
        return tuple(texts)
    return tuple(f"{side}: {text}" for side, text in zip(SIDES, texts, strict=True))


def _title(engine: EngineView) -> str:
    parts = (engine.backend, engine.device, engine.precision, f"batch {engine.batch}")
    others = (change for change in engine.changes if change.partition("=")[0] not in _IN_TITLE)
    return f"{engine.model}: {', '.join((*parts, *others))}"


def _heading(engine: EngineView) -> str:
    """'21 layers in 7.88 ms; 5 of them take half of it; 2.10x the sum of their floors'.

    Where the times are not the whole, how many layers have one, and nothing that would rest on those alone.
    """
    text = f"{len(engine.layers)} layers"
    if engine.time is None:
        return text
    if not engine.is_whole:
        return f"only {engine.timed} of {text} have a time of their own, {format_ms(engine.time)}{_beside(engine)}"
    text = f"{text} in {format_ms(engine.time)}; {_half(engine)}"
    if engine.floor:
        text += f"; {format_quantity(_timed_with_floor(engine) / engine.floor, 'x')} the sum of their floors"
    return text


def _beside(engine: EngineView) -> str:
    """'; a whole inference takes 41.0 ms', where it was measured."""
    return optional(engine.inference, lambda ns: f"; a whole inference takes {format_ms(ns)}")


def _half(engine: EngineView) -> str:
    """How few layers take half of the time."""
    times = sorted((layer.time or 0.0 for layer in engine.layers), reverse=True)
    count = 0
    passed = 0.0
    while passed < sum(times) / 2:
        passed += times[count]
        count += 1
    if count == 1:
        return f"one of them takes {share(times[0] / sum(times))} of it"
    return f"{count} of them take half of it"


def _timed_with_floor(engine: EngineView) -> float:
    return sum(layer.time or 0.0 for layer in engine.layers if layer.floor)


def _compared(exploration: Exploration) -> str:
    """'B takes 0.71x the time of A: 5.60 instead of 7.88 ms; most of the difference is in conv1: 1.20 ms less'."""
    a, b = exploration.engines
    if not (a.time and b.time and a.is_whole and b.is_whole):
        return f"A has {_counted(a)}, B {_counted(b)}"
    if a.time == b.time:
        return f"B takes the same time as A: {format_ms(a.time)}"
    ratio = format_quantity(b.time / a.time, "x")
    text = f"B takes {ratio} the time of A: {format_ms(b.time)} instead of {format_ms(a.time)}"
    same_way = [m for m in exploration.matches if (_more(exploration, m) > 0) == (b.time > a.time)]
    largest = max(same_way, key=lambda m: abs(_more(exploration, m)), default=None)
    if largest is None:
        return text
    more = _more(exploration, largest)
    word = "more" if more > 0 else "less"
    return f"{text}; most of it in {_name(exploration, largest)}: {format_ms(abs(more))} {word}"


def _counted(engine: EngineView) -> str:
    """'965 layers, 427 with a time of their own'."""
    text = f"{len(engine.layers)} layers"
    if engine.timed == len(engine.layers):
        return text
    return f"{text} ({engine.timed} with a time of their own)"


def _more(exploration: Exploration, match: LayerMatch) -> float:
    """What B takes more than A for the layers of a match, ns."""
    a, b = exploration.engines
    return (_time(b, match.b) or 0.0) - (_time(a, match.a) or 0.0)


def _name(exploration: Exploration, match: LayerMatch) -> str:
    a, b = exploration.engines
    return _names(a, match.a) or _names(b, match.b)


def _numbers(engine: EngineView) -> Iterator[tuple[str, str]]:
    """Names and texts of the whole engine's numbers; what nobody says is left out."""
    flops = sum(layer.flops or 0.0 for layer in engine.layers)
    moved = sum(layer.bytes or 0 for layer in engine.layers)
    texts = {
        "layers": str(len(engine.layers)),
        _SUM[engine.is_whole]: optional(engine.time, format_ms),
        "whole inference": optional(engine.inference, format_ms),
        "sum of floors": optional(engine.floor if engine.is_whole else None, format_ms),
        "operations": optional(flops or None, with_prefix),
        "moved": optional(moved or None, format_bytes),
        "longest path": _path(engine),
    }
    return ((name, text) for name, text in texts.items() if text)


def _path(engine: EngineView) -> str:
    """'22 layers, 7.10 ms'; '' where there is no graph, or are no times."""
    if not engine.path or not engine.time:
        return ""
    along = sum(engine.layers[index].time or 0.0 for index in engine.path)
    return f"{len(engine.path)} layers, {format_ms(along)}"


def _rows_of_one(engine: EngineView) -> tuple[LayerRow, ...]:
    order = sorted(range(len(engine.layers)), key=lambda index: -(engine.layers[index].time or 0.0))
    return tuple(_row_of_one(engine.layers[index], index) for index in order)


def _row_of_one(layer: EngineLayer, index: int) -> LayerRow:
    words = (layer.name, layer.kind, layer.precision, layer.place, "x".join(map(str, layer.shape)))
    limit = layer.limit or ""
    return LayerRow(
        texts=(*words, *_texts(layer), limit),
        keys=(*words, layer.time, layer.share, layer.flops, layer.bytes, layer.floor, layer.times, limit),
        a=(index,),
        more=_nodes([layer]),
    )


def _texts(layer: EngineLayer) -> tuple[str, ...]:
    """The numbers of a layer; '' where nobody says one."""
    return (
        optional(layer.time, format_ms),
        optional(layer.share, share),
        optional(layer.flops, with_prefix),
        optional(layer.bytes, format_bytes),
        optional(layer.floor, format_ms),
        optional(layer.times, lambda times: format_quantity(times, "x")),
    )


def _rows_of_two(exploration: Exploration) -> tuple[LayerRow, ...]:
    a, b = exploration.engines
    rows = [_row_of_two(a, b, match) for match in exploration.matches]
    return tuple(sorted(rows, key=lambda row: -_longer(row)))


def _longer(row: LayerRow) -> float:
    """The longer time of both engines."""
    return max((key for key in row.keys[4:6] if isinstance(key, float)), default=0.0)


def _row_of_two(a: EngineView, b: EngineView, match: LayerMatch) -> LayerRow:
    layers = [*(a.layers[i] for i in match.a), *(b.layers[i] for i in match.b)]
    words = (_names(a, match.a), _names(b, match.b), _kind(layers), _precisions(layers))
    times = (_time(a, match.a), _time(b, match.b))
    more, ratio = _difference(*times)
    by = match.by or "only in one"
    return LayerRow(
        texts=(*words, *_times(*times, more, ratio), by),
        keys=(*words, *times, more, ratio, by),
        a=match.a,
        b=match.b,
        more=_nodes(layers),
    )


def _nodes(layers: Sequence[EngineLayer]) -> str:
    return " ".join(name for layer in layers for name in layer.nodes)


def _times(a: float | None, b: float | None, more: float | None, ratio: float | None) -> tuple[str, ...]:
    """The texts of both times, what B takes more, and how many times A."""
    return optional(a, format_ms), optional(b, format_ms), _signed(more), _as_ratio(ratio)


def _kind(layers: Sequence[EngineLayer]) -> str:
    """The operation of the layer with the most arithmetic."""
    return max(layers, key=lambda layer: (layer.flops or 0.0, layer.time or 0.0)).kind


def _precisions(layers: Sequence[EngineLayer]) -> str:
    """'fp32 / fp16', or one where they are the same."""
    return " / ".join(dict.fromkeys(layer.precision for layer in layers if layer.precision))


def _names(engine: EngineView, indices: Sequence[int]) -> str:
    """The name of the layer that takes the longest, and how many come with it."""
    if not indices:
        return ""
    main = max((engine.layers[index] for index in indices), key=lambda layer: layer.time or 0.0)
    if len(indices) == 1:
        return main.name
    return f"{main.name} + {len(indices) - 1} more"


def _time(engine: EngineView, indices: Sequence[int]) -> float | None:
    times = [engine.layers[index].time for index in indices]
    measured = [time for time in times if time is not None]
    if not measured:
        return None
    return sum(measured)


def _difference(a: float | None, b: float | None) -> tuple[float | None, float | None]:
    """What B takes more, and how many times A; None where one has no time."""
    if a is None or b is None:
        return None, None
    if not a:
        return b - a, None
    return b - a, b / a


def _signed(ns: float | None) -> str:
    if not ns:
        return optional(ns, format_ms)
    return f"{'+' if ns > 0 else '-'}{format_ms(abs(ns))}"


def _as_ratio(ratio: float | None) -> str:
    return optional(ratio, lambda value: format_quantity(value, "x"))
