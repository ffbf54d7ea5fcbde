"""Layers of engines: floors, what passes between them, the longest path, and which of two correspond."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from framepace.analyze.layers import beaten, edges, engine_layers, longest_path, matches, without_beaten
from framepace.facts.bounds import Ceilings, ModelWork, NodeWork
from framepace.facts.model import Layer

CEILINGS = Ceilings(backend="x", device="cpu", peaks={"fp32": 1e9}, bandwidth=((1, 1e9),), launch=10.0)
WORK = ModelWork(
    model="m",
    precision="fp32",
    batch=1,
    nodes=(
        NodeWork(name="conv", kind="Conv", precision="fp32", flops=1000, reads=(("x", 100),), writes=(("t", 200),)),
        NodeWork(name="add", kind="Add", precision="fp32", reads=(("t", 200), ("x", 100)), writes=(("u", 200),)),
        NodeWork(name="fc", kind="Gemm", precision="fp32", flops=10, reads=(("u", 200),), writes=(("y", 4000),)),
    ),
)
FUSED = Layer(name="conv + add", time=2000.0, nodes=("conv", "add"), bytes=999)
LAST = Layer(name="fc", time=6000.0)


def test_a_layer_has_the_work_of_the_operators_in_it_and_the_floor_of_that_work() -> None:
    """Tensors between fused operators are not moved; the library's bytes are shown, the floor is of the least."""
    first, last = engine_layers([FUSED, LAST], WORK, CEILINGS)
    assert (first.flops, first.bytes, first.floor, first.limit, first.times) == (1000, 999, 1000.0, "compute", 2.0)
    assert (last.flops, last.bytes, last.floor, last.limit) == (10, 4200, 4200.0, "memory")
    assert (first.share, last.share) == (0.25, 0.75)


def test_without_a_file_the_library_says_the_work_and_without_ceilings_there_is_no_floor() -> None:
    """A layer of which nobody says anything has neither."""
    told = Layer(name="conv2d", precision="fp32", time=1.0, flops=5000.0, bytes=100)
    layer, silent = engine_layers([told, Layer(name="?")], None, CEILINGS)
    assert (layer.flops, layer.floor, layer.limit) == (5000, 5000.0, "compute")
    assert (silent.flops, silent.bytes, silent.floor, silent.share) == (None, None, None, None)
    assert engine_layers([told], WORK, None)[0].floor is None


def test_what_moves_nothing_has_no_floor_and_constants_that_a_library_folded_do_not_count() -> None:
    """A reshape of a megabyte takes as long as one of a byte; of 4,200 bytes in the file the library moves 12."""
    reshape, folded = engine_layers(
        [Layer(name="r", kind="Reshape", time=1.0, bytes=1_000_000), Layer(name="fc", time=20.0, bytes=12)],
        WORK,
        CEILINGS,
    )
    assert (reshape.floor, reshape.limit) == (None, None)
    assert (folded.floor, folded.limit) == (12.0, "memory")


def test_a_floor_that_is_beaten_is_none() -> None:
    """The layer keeps its time, and the others their floors."""
    layers = engine_layers([FUSED, Layer(name="fc", time=4000.0)], WORK, CEILINGS)
    assert [layer.name for layer in beaten(layers)] == ["fc"]
    first, last = without_beaten(layers)
    assert first == layers[0]
    assert (last.time, last.floor, last.limit, last.times) == (4000.0, None, None, None)


def test_edges_are_by_the_librarys_tensors_or_by_those_of_the_file() -> None:
    """A reader comes after its writer; what nobody writes is an input."""
    named = [
        Layer(name="a", inputs=("x",), outputs=("t",)),
        Layer(name="b", inputs=("t", "x"), outputs=("u",)),
        Layer(name="c", inputs=("u", "t"), outputs=("y",)),
    ]
    assert set(edges(named, None)) == {(0, 1), (1, 2), (0, 2)}
    assert edges([FUSED, LAST], WORK) == ((0, 1),)
    assert edges([FUSED, LAST], None) == ()


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[float], list[tuple[int, int]]]:
    """Times of up to eight layers and edges from earlier to later ones."""
    times = draw(st.lists(st.integers(0, 9).map(float), min_size=2, max_size=8))
    pairs = [(a, b) for b in range(len(times)) for a in range(b)]
    return times, draw(st.lists(st.sampled_from(pairs), min_size=1, unique=True))


@given(graphs())
def test_no_path_is_longer_than_the_longest_one(graph: tuple[list[float], list[tuple[int, int]]]) -> None:
    """Compared with every path there is; each step is an edge."""
    times, links = graph

    def best(node: int) -> float:
        return times[node] + max((best(a) for a, b in links if b == node), default=0.0)

    path = longest_path(times, links)
    assert sum(times[node] for node in path) == max(best(node) for node in range(len(times)))
    assert all(step in links for step in pairwise(path))
    assert longest_path(times, []) == ()


def test_layers_that_hold_the_same_operators_match_however_they_were_fused() -> None:
    """One layer of A stands against two of B; then names, outputs, and kinds with shapes."""
    a = [
        Layer(name="p", nodes=("conv", "relu")),
        Layer(name="same"),
        Layer(name="left", outputs=("y",)),
        Layer(name="q", kind="Gemm", shape=(1, 10)),
        Layer(name="lonely"),
    ]
    b = [
        Layer(name="r", nodes=("conv",)),
        Layer(name="s", nodes=("relu",)),
        Layer(name="same"),
        Layer(name="right", outputs=("y",)),
        Layer(name="t", kind="MatrixMultiply", shape=(1, 10)),
    ]
    matched = [(match.a, match.b, match.by) for match in matches(a, b)]
    assert matched == [
        ((0,), (0, 1), "operators"),
        ((1,), (2,), "name"),
        ((2,), (3,), "outputs"),
        ((3,), (4,), "kind and shape"),
        ((4,), (), ""),
    ]


_names = st.sampled_from("abcd")
_layers = st.builds(
    Layer,
    name=_names,
    kind=_names,
    nodes=st.lists(_names, max_size=2, unique=True).map(tuple),
    outputs=st.lists(_names, max_size=1).map(tuple),
)


@given(st.lists(_layers, max_size=6), st.lists(_layers, max_size=6))
def test_every_layer_of_both_engines_is_in_exactly_one_match(a: list[Layer], b: list[Layer]) -> None:
    """Whatever they share."""
    found = matches(a, b)
    assert sorted(index for match in found for index in match.a) == list(range(len(a)))
    assert sorted(index for match in found for index in match.b) == list(range(len(b)))
    assert all((match.by != "") == bool(match.a and match.b) for match in found)


def test_an_engine_matches_itself_layer_by_layer() -> None:
    """By names where the library does not say more."""
    engine = [Layer(name=str(number)) for number in range(5)]
    assert [(match.a, match.b) for match in matches(engine, engine)] == [((i,), (i,)) for i in range(5)]
