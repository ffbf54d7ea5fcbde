"""The GPUs and hosts of a Ray cluster: places, and actors that work on them. Ray is imported when one is asked for."""

from framepace.cluster.cluster import Cluster, connect, joined
from framepace.cluster.remote import Pending, Remote
from framepace.errors import ClusterError, HostLost, PlaceLost
from framepace.facts.place import Place

__all__ = ["Cluster", "ClusterError", "HostLost", "Pending", "Place", "PlaceLost", "Remote", "connect", "joined"]
