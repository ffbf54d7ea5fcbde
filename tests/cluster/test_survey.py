"""What places are called, and what makes them of one kind; without a cluster."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from framepace.cluster.reserving import shares_of
from framepace.cluster.survey import Survey, distinct, place_of
from framepace.errors import ClusterError
from framepace.lab.station import cores_of
from framepace.recording.machine import probe
from tests.doubles.places import make_place


def test_hosts_of_one_name_are_told_apart() -> None:
    """By the id of their node; a name that only one node has stays."""
    twins = [replace(make_place(0), node=node) for node in ("aaaaaaaa", "bbbbbbbb")]
    assert [place.name for place in distinct(twins)] == ["here aaaaaa share 0", "here bbbbbb share 0"]
    assert distinct(twins[:1]) == twins[:1]


def test_places_are_of_one_kind_where_cpu_cores_and_gpu_are() -> None:
    """Whatever their number and host; another GPU, CPU or share of the cores is another kind."""
    place = make_place(0, gpu="a GPU")
    assert make_place(1, gpu="a GPU", host="there").kind == place.kind
    others = [make_place(0, gpu="b GPU"), make_place(0), make_place(0, gpu="a GPU", cpu="b"), replace(place, cores=1.0)]
    assert len({place.kind, *(other.kind for other in others)}) == 5


def test_a_node_is_divided_by_its_gpus_else_into_shares() -> None:
    """Each GPU with whole cores; a head without either has no place."""
    node = {"NodeID": "n", "Resources": {"CPU": 7.0, "GPU": 2.0}}
    assert shares_of(node, 4) == [("n", {"CPU": 3.0, "GPU": 1.0}, 0), ("n", {"CPU": 3.0, "GPU": 1.0}, 1)]
    assert [each for _, each, _ in shares_of({"NodeID": "n", "Resources": {"CPU": 2.0}}, 4)] == [{"CPU": 0.5}] * 4
    assert shares_of({"NodeID": "n", "Resources": {}}, 1) == []


def test_shares_of_cores_do_not_overlap_where_there_are_enough() -> None:
    """Two of eight cores each; a GPU's place, and shares of less than a core, keep all."""
    assert [list(cores_of(make_place(share), range(8))) for share in (0, 3)] == [[0, 1], [6, 7]]
    assert list(cores_of(make_place(1, gpu="a GPU"), range(8))) == list(range(8))
    assert list(cores_of(replace(make_place(1), cores=0.5), range(2))) == [0, 1]


def test_another_framepace_on_a_host_is_refused() -> None:
    """The error has both versions."""
    machine = replace(probe(), libraries={"framepace": "0.1"})
    with pytest.raises(ClusterError, match=r"0\.1 on far"):
        place_of(Survey("far", None, 2, machine), "n", 0, 1)
