"""The contract suite over Redis: one server, a cluster, Express's layout, the app's client and our own, in both colours."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, ClassVar

import anyio
import pytest
import redis
import redis.asyncio

from sojourn.stores._async.redis import AsyncRedisStore
from sojourn.stores._sync.redis import RedisStore
from sojourn.testing import AsyncStoreContract, ManualClock, StoreContract
from tests.servers import redis_url, valkey_cluster

__all__ = ["redis_url", "valkey_cluster"]

pytestmark = pytest.mark.server


class OnServer:
    """Time is the server's, so it is waited for."""

    tick: ClassVar[int] = 30
    short: ClassVar[int] = 120
    reports_expiry: ClassVar[bool] = False
    sweeps_itself: ClassVar[bool] = True
    rounds: ClassVar[int] = 3
    url: str
    prefix: str

    @pytest.fixture(autouse=True)
    def _server(self, redis_url: str) -> Iterator[None]:
        self.url, self.prefix = redis_url, f"test-{uuid.uuid4().hex}:"
        yield
        self.clean()

    def clean(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            remove(client, self.prefix)

    def address(self) -> str:
        return f"{self.url}?prefix={self.prefix}"

    async def advance(self, ms: int) -> None:
        await anyio.sleep(ms / 1000)


class InCluster(OnServer):
    @pytest.fixture(autouse=True)
    def _server(self, valkey_cluster: str) -> Iterator[None]:
        self.url, self.prefix = valkey_cluster, f"test-{uuid.uuid4().hex}:"
        yield
        self.clean()

    def clean(self) -> None:
        client = redis.RedisCluster.from_url(self.url.replace("redis+cluster", "redis"))
        for node in client.get_primaries():
            remove(client.get_redis_connection(node), self.prefix)
        client.close()


def remove(client: Any, prefix: str) -> None:
    for name in client.scan_iter(f"*{prefix}*", 1000):
        client.delete(name)


class TestRedisStore(OnServer, StoreContract):
    def make_store(self, clock: ManualClock) -> RedisStore:
        return RedisStore.from_url(self.address())

    make_peer = make_store


class TestAsyncRedisStore(OnServer, AsyncStoreContract):
    def make_store(self, clock: ManualClock) -> AsyncRedisStore:
        return AsyncRedisStore.from_url(self.address())

    make_peer = make_store


class TestAsyncRedisStoreOverAClient(OnServer, AsyncStoreContract):
    def make_store(self, clock: ManualClock) -> AsyncRedisStore:
        self.client = redis.asyncio.Redis.from_url(self.url, decode_responses=True, protocol=3)
        return AsyncRedisStore(self.client, prefix=self.prefix)

    async def after(self) -> None:
        await self.client.aclose()


class TestRedisStoreInACluster(InCluster, StoreContract):
    def make_store(self, clock: ManualClock) -> RedisStore:
        return RedisStore.from_url(self.address())

    make_peer = make_store


class TestAsyncRedisStoreInACluster(InCluster, AsyncStoreContract):
    def make_store(self, clock: ManualClock) -> AsyncRedisStore:
        return AsyncRedisStore.from_url(self.address())

    make_peer = make_store
