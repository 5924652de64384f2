"""The store contract over a real PostgreSQL, whose clock the tests move."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from sojourn.stores.postgres._async.store import AsyncPostgresStore
from sojourn.stores.postgres._sync.store import PostgresStore
from sojourn.testing import AsyncStoreContract, FullStore, ManualClock, StoreContract, as_async, store_state_machine
from sojourn.testing.contract.expiry import ExpiryCases
from sojourn.testing.contract.harness import Harness
from tests.stores.postgres_schema import PostgresSchema

pytestmark = pytest.mark.server

OPTIONS: dict[str, Any] = {"create_table": True, "pool_size": 4, "prune_interval": None}


class OnPostgres(Harness):
    any_bytes: ClassVar = False
    longest_key: ClassVar = 2600  # PostgreSQL indexes some 2700 bytes

    @pytest.fixture(autouse=True)
    def _server(self, postgres_url: str) -> None:
        self.url = postgres_url

    async def before(self) -> None:
        self.schema = PostgresSchema(self.url)
        self.schema.set_clock(self.clock())

    async def after(self) -> None:
        self.schema.drop()

    async def advance(self, ms: int) -> None:
        self.clock.advance(ms)
        self.schema.set_clock(self.clock())


class TestPostgresStore(OnPostgres, StoreContract):
    def make_store(self, clock: ManualClock) -> PostgresStore:
        return PostgresStore(self.schema.clocked, **OPTIONS)

    make_peer = make_store


class TestAsyncPostgresStore(OnPostgres, AsyncStoreContract):
    def make_store(self, clock: ManualClock) -> AsyncPostgresStore:
        return AsyncPostgresStore(self.schema.clocked, **OPTIONS)

    make_peer = make_store


_PARTITIONED = """
    CREATE TABLE {schema}.session (
        sid varchar NOT NULL COLLATE "default" PRIMARY KEY, sess json NOT NULL, expire timestamp(6) NOT NULL, owner text, successor text
    ) PARTITION BY HASH (sid);
    CREATE TABLE {schema}.session_0 PARTITION OF {schema}.session FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE {schema}.session_1 PARTITION OF {schema}.session FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    CREATE INDEX ON {schema}.session (expire);
    CREATE INDEX ON {schema}.session (owner) WHERE owner IS NOT NULL;
    CREATE TABLE {schema}.session_lock (key varchar PRIMARY KEY, token text NOT NULL, expire timestamptz NOT NULL);
"""


class TestAsyncPostgresStoreOnPartitions(TestAsyncPostgresStore):
    """The table that the docs recommend for very many sessions."""

    async def before(self) -> None:
        await super().before()
        self.schema.execute(_PARTITIONED)


class TestPostgresStoreInExpressLayout(OnPostgres, ExpiryCases):
    tick: ClassVar = 1000
    short: ClassVar = 8000

    def _make_store(self) -> FullStore:
        return as_async(PostgresStore(self.schema.clocked, layout="connect-pg-simple", **OPTIONS))


class Following:
    """A store whose server's clock is set to the test's before each call."""

    def __init__(self, clock: ManualClock, schema: PostgresSchema) -> None:
        self._clock, self._schema = clock, schema
        self._store = PostgresStore(schema.clocked, **OPTIONS)

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._schema.set_clock(self._clock())
            result = getattr(self._store, name)(*args, **kwargs)
            return list(result) if name == "scan" else result

        return call

    def close(self) -> None:
        self._store.close()
        self._schema.drop()


def test_a_store_does_what_a_dictionary_would(postgres_url: str):
    def make(clock: ManualClock) -> Any:
        return Following(clock, PostgresSchema(postgres_url))

    run_state_machine_as_test(
        store_state_machine(make),
        settings=settings(
            max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
