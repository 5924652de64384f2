"""The store contract over a server that speaks MongoDB's protocol, in every layout."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from pymongo import AsyncMongoClient, MongoClient

from sojourn.stores.mongo._async.store import AsyncMongoStore
from sojourn.stores.mongo._layout import MongoLayout
from sojourn.stores.mongo._sync.store import MongoStore
from sojourn.testing import AsyncStoreContract, ManualClock, StoreContract, store_state_machine
from sojourn.testing.contract.harness import Harness
from tests.servers import MongoServer

pytestmark = pytest.mark.server


class OnMongo(Harness):
    """Without indexes: the clock of these tests stands in the past, where a TTL index would remove everything."""

    any_bytes = False
    layout = MongoLayout.native()

    @pytest.fixture(autouse=True)
    def _server(self, mongodb: MongoServer) -> None:
        self.url = mongodb.url(retryWrites="false")

    async def before(self) -> None:
        self.peers: list[AsyncMongoStore] = []

    async def after(self) -> None:
        for peer in self.peers:
            await peer.close()

    def arguments(self, clock: ManualClock) -> dict[str, Any]:
        return {"layout": self.layout, "clock": clock, "create_index": False}


class TestMongoStore(OnMongo, StoreContract):
    @pytest.fixture(autouse=True)
    def _client(self, _server: None):
        with MongoClient[Any](self.url) as self.client:
            yield

    def make_store(self, clock: ManualClock) -> MongoStore:
        return MongoStore(self.client, **self.arguments(clock))

    make_peer = make_store


class TestMongoStoreInBson(TestMongoStore):
    layout = MongoLayout.connect_mongo(stringify=False, timestamps=True, last_modified=True)
    tombstones = False
    rounds = 2


class TestAsyncMongoStore(OnMongo, AsyncStoreContract):
    def make_store(self, clock: ManualClock) -> AsyncMongoStore:
        return AsyncMongoStore(lambda: AsyncMongoClient(self.url), **self.arguments(clock))

    def make_peer(self, clock: ManualClock) -> AsyncMongoStore:
        self.peers.append(self.make_store(clock))
        return self.peers[-1]


class TestAsyncMongoStoreInOtherFields(TestAsyncMongoStore):
    layout = MongoLayout.connect_mongodb_session(id_field="sid", expires_key="until")
    tombstones = False
    rounds = 2

    async def before(self) -> None:
        await super().before()
        async with AsyncMongoClient[Any](self.url) as client:
            await client.get_default_database()["sessions"].create_index("sid", unique=True)


class Emptied(MongoStore):
    """A store that leaves nothing to the next example."""

    def close(self) -> None:
        for handles in self._homes.values():
            handles.sessions.drop()
            handles.locks.drop()
        super().close()


@pytest.mark.parametrize("layout", ["native", "connect-mongo-bson"])
def test_a_store_does_what_a_dictionary_would(layout: str, mongodb: MongoServer):
    with MongoClient[Any](mongodb.url(retryWrites="false")) as client:
        machine = store_state_machine(
            lambda clock: Emptied(client, layout=layout, clock=clock, create_index=False), tombstones=layout == "native"
        )
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
