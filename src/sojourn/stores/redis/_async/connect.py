"""The clients that the stores open themselves, from a URL."""

from __future__ import annotations

from typing import Any

import redis.asyncio
import redis.asyncio.sentinel

from .._multiplex import Multiplexed  # async only
from .._url import Server
from .driver import AsyncCluster, AsyncDriver, AsyncPool

__all__ = ["connect_async"]


def connect_async(server: Server) -> AsyncDriver:
    """A client that waits no longer than the URL says, and connects once."""
    if server.kind == "cluster":
        make_node: Any = redis.asyncio.cluster.ClusterNode  # untyped
        nodes = [make_node(host, port) for host, port in server.hosts]
        return AsyncCluster(make=lambda: redis.asyncio.RedisCluster(startup_nodes=nodes, **server.client_options()))
    if server.kind == "sentinel":
        make_sentinel: Any = redis.asyncio.sentinel.Sentinel  # untyped
        options = {**server.client_options(), "db": server.db}
        sentinel = make_sentinel(server.hosts, sentinel_kwargs=server.sentinel_options(), **options)
        master = sentinel.master_for(server.service)
        return AsyncPool(master, close=[master, *sentinel.sentinels])
    return Multiplexed(server)  # async only
    # sync only: client = redis.Redis(**server.address(), **server.client_options(), db=server.db)
    # sync only: return Pool(client, close=[client])
