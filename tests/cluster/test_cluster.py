"""A cluster on this machine: its places, actors on them, and what is refused."""

from __future__ import annotations

import os
import signal
import socket
import sys

import psutil
import pytest

from framepace.cluster import Cluster, ClusterError, PlaceLost, connect
from framepace.cluster.starting import join
from framepace.errors import UsageError

pytestmark = pytest.mark.xdist_group("ray")


class Probe:
    """Says what its process sees, fails, and dies."""

    def __init__(self, number: int) -> None:
        self._number = number

    def sees(self) -> tuple[int, str | None, str | None]:
        """The argument of the constructor, the GPUs, and Ray's number of threads, which is nobody's setting."""
        return self._number, os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("OMP_NUM_THREADS")

    def fail(self) -> None:
        """Raise."""
        raise UsageError("no", got=1)

    def die(self) -> None:
        """End at once."""
        os.kill(os.getpid(), signal.SIGKILL)


def test_places_are_told_apart_and_an_actor_sees_its_own_gpu_alone(cluster: Cluster) -> None:
    """Both, and again after the first actors ended; what a method raises is raised here; death is PlaceLost."""
    assert [place.device for place in cluster.places] == [0, 1]
    assert len({place.kind for place in cluster.places}) == 1
    for _ in range(2):
        actors = [cluster.actor(place, Probe, place.number) for place in cluster.places]
        assert [actor.call("sees") for actor in actors] == [
            (n, str(n), os.environ.get("OMP_NUM_THREADS")) for n in (0, 1)
        ]
        for actor in actors:
            actor.end()
    actor = cluster.actor(cluster.places[0], Probe, 7)
    with pytest.raises(UsageError, match="got: 1"):
        actor.call("fail")
    with pytest.raises(PlaceLost, match="cuda:0 was lost"):
        actor.call("die")


@pytest.mark.long
def test_nothing_listens_outside_of_the_loopback_interface(cluster: Cluster) -> None:
    """None of the processes that Ray started here."""
    actor = cluster.actor(cluster.places[0], Probe, 0)
    actor.call("sees")
    processes = psutil.Process().children(recursive=True)
    heard = [each.laddr.ip for process in processes for each in process.net_connections() if each.status == "LISTEN"]
    actor.end()  # else its place is taken, and what the next test starts there waits for it
    assert heard
    assert {address.removeprefix("::ffff:") for address in heard} == {"127.0.0.1"}


def test_without_ray_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra by its name."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match=r"pip install 'framepace\[ray\]'"):
        connect("local")


@pytest.mark.parametrize("address", ["", "nonsense", "local:0", "local:x", "host:", "host:70000", "ray://host"])
def test_what_is_no_address_is_refused(address: str) -> None:
    """The error names the forms that there are."""
    with pytest.raises(UsageError, match="local:N"):
        connect(address)


def test_where_nobody_listens_it_says_so() -> None:
    """A port that was just given back."""
    pytest.importorskip("ray", reason="Ray is not installed (the extra 'ray')")
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{port.getsockname()[1]}"
    for prefix in ("", "ray://"):
        with pytest.raises(ClusterError, match="no Ray cluster answers"):
            join(prefix + address)
