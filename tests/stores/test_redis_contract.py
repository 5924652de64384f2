"""The contract suite over Redis: one server and a cluster, our own connections and the app's client, in both colours."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import redis
import redis.asyncio

from sojourn.core.store import Replaced, Stored
from sojourn.stores.redis._async.store import AsyncRedisStore
from sojourn.stores.redis._sync.store import RedisStore
from sojourn.testing import AsyncStoreContract, ManualClock, StoreContract

pytestmark = pytest.mark.server

# Time passes by taking it from what each key has left, and from the times that an owner's index holds.
PASS = """
local cursor = '0'
repeat
  local step = redis.call('SCAN', cursor, 'MATCH', ARGV[1], 'COUNT', 1000)
  cursor = step[1]
  for _, name in ipairs(step[2]) do
    local left = redis.call('PTTL', name)
    if left >= 0 then redis.call('PEXPIRE', name, left - ARGV[2]) end
    if redis.call('TYPE', name).ok == 'zset' then
      for _, member in ipairs(redis.call('ZRANGE', name, 0, -1)) do
        redis.call('ZINCRBY', name, -ARGV[2], member)
      end
    end
  end
until cursor == '0'
"""


class OnServer:
    """Expiry is exact but for the time that really passes."""

    tick: ClassVar[int] = 2400
    short: ClassVar[int] = 10_000
    reports_expiry: ClassVar[bool] = False
    sweeps_itself: ClassVar[bool] = True
    rounds: ClassVar[int] = 3
    url: str
    prefix: str

    @pytest.fixture(autouse=True)
    def _server(self, redis_url: str) -> Iterator[None]:
        with redis.Redis.from_url(redis_url) as client:
            yield from self.use(redis_url, [client])

    def use(self, url: str, clients: list[Any]) -> Iterator[None]:
        self.url, self.prefix = url, f"test-{uuid.uuid4().hex}:"
        self.clients = clients
        yield
        for client in clients:
            for name in client.scan_iter(f"*{self.prefix}*", 1000):
                client.delete(name)

    @property
    def address(self) -> str:
        return f"{self.url}?prefix={self.prefix}"

    async def advance(self, ms: int) -> None:
        for client in self.clients:
            client.eval(PASS, 0, f"*{self.prefix}*", ms)


class InCluster(OnServer):
    @pytest.fixture(autouse=True)
    def _server(self, valkey_cluster: str) -> Iterator[None]:
        cluster: Any = redis.RedisCluster.from_url(valkey_cluster.replace("redis+cluster", "redis"))
        yield from self.use(valkey_cluster, [cluster.get_redis_connection(node) for node in cluster.get_primaries()])
        cluster.close()


class TestRedisStore(OnServer, StoreContract):
    def make_store(self, clock: ManualClock) -> RedisStore:
        return RedisStore.from_url(self.address)

    make_peer = make_store


class TestAsyncRedisStore(OnServer, AsyncStoreContract):
    def make_store(self, clock: ManualClock) -> AsyncRedisStore:
        return AsyncRedisStore.from_url(self.address)

    make_peer = make_store


class NearFirst(AsyncRedisStore):
    """It loads from the near cache, once all that the server has done is told: then what is there is what the server has."""

    async def load(self, key: str) -> Stored | Replaced | None:
        await self.open()
        near = self.near
        assert near is not None
        return near(key) or await super().load(key)


class TestAsyncRedisStoreWithANearCache(OnServer, AsyncStoreContract):
    @property
    def address(self) -> str:
        return f"{super().address}&near_cache=100000"

    def make_store(self, clock: ManualClock) -> AsyncRedisStore:
        return NearFirst.from_url(self.address)

    make_peer = make_store


class TestAsyncRedisStoreOverAClient(OnServer, AsyncStoreContract):
    def make_store(self, clock: ManualClock) -> AsyncRedisStore:
        self.client = redis.asyncio.Redis.from_url(self.url, decode_responses=True, protocol=3)
        return AsyncRedisStore(self.client, prefix=self.prefix)

    def make_peer(self, clock: ManualClock) -> AsyncRedisStore:
        return AsyncRedisStore(self.client, prefix=self.prefix)

    async def after(self) -> None:
        await self.client.aclose()


class TestRedisStoreInACluster(InCluster, StoreContract):
    def make_store(self, clock: ManualClock) -> RedisStore:
        return RedisStore.from_url(self.address)

    make_peer = make_store


class TestAsyncRedisStoreInACluster(InCluster, AsyncStoreContract):
    def make_store(self, clock: ManualClock) -> AsyncRedisStore:
        return AsyncRedisStore.from_url(self.address)

    make_peer = make_store


class InExpressLayout(OnServer):
    tombstones: ClassVar[bool] = False

    @property
    def address(self) -> str:
        return f"{self.url}?prefix={self.prefix}&layout=connect-redis"


class TestRedisStoreInExpressLayout(InExpressLayout, StoreContract):
    def make_store(self, clock: ManualClock) -> RedisStore:
        return RedisStore.from_url(self.address)

    make_peer = make_store


class TestAsyncRedisStoreInExpressLayout(InExpressLayout, AsyncStoreContract):
    def make_store(self, clock: ManualClock) -> AsyncRedisStore:
        return AsyncRedisStore.from_url(self.address)

    make_peer = make_store
