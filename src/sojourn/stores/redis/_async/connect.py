"""The clients that the stores open themselves, from a URL."""

from __future__ import annotations

from typing import Any

import redis.asyncio
import redis.asyncio.sentinel

# sync only: from ....errors import ConfigurationError
from .._multiplex import Multiplexed  # async only

# sync only: from .._direct import Direct
from .._url import Server
from .clients import AsyncOwned
from .driver import AsyncCluster, AsyncDriver, AsyncPool

__all__ = ["connect_async"]


def connect_async(server: Server) -> AsyncDriver:
    """Clients that wait no longer than the URL says, and connect once."""
    if server.kind == "cluster":
        return AsyncCluster(AsyncOwned(lambda: (_cluster(server),)))
    if server.kind == "sentinel":
        return AsyncPool(AsyncOwned(lambda: _master(server)))
    return Multiplexed(server)  # async only
    # sync only: if server.near_cache:
    # sync only:     remedy = "leave it out: it is kept true on an event loop of asyncio's"
    # sync only:     raise ConfigurationError("near_cache", "in a sync store", remedy)
    # sync only: return Direct(server)


def _cluster(server: Server) -> redis.asyncio.RedisCluster:
    make_node: Any = redis.asyncio.cluster.ClusterNode  # untyped
    nodes = [make_node(host, port) for host, port in server.hosts]
    return redis.asyncio.RedisCluster(startup_nodes=nodes, **server.client_options())


def _master(server: Server) -> tuple[Any, ...]:
    """The client of the master, and those of the sentinels."""
    make_sentinel: Any = redis.asyncio.sentinel.Sentinel  # untyped
    options = {**server.client_options(), "db": server.db}
    sentinel = make_sentinel(server.hosts, sentinel_kwargs=server.sentinel_options(), **options)
    return sentinel.master_for(server.service), *sentinel.sentinels
