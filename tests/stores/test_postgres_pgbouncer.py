"""The PostgreSQL store behind PgBouncer, whose connections to the server are another program's from one transaction to the next."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, ClassVar

import pytest

from sojourn.errors import StoreUnavailable
from sojourn.stores import AsyncPostgresStore, PostgresStore
from sojourn.testing import AsyncStoreContract, ManualClock, StoreContract
from tests.servers import pgbouncer, pgbouncer_program
from tests.stores.test_postgres_contract import OPTIONS, OnPostgres

pytestmark = pytest.mark.server

BEHIND: dict[str, Any] = {**OPTIONS, "prepare": False}


class Behind(OnPostgres):
    mode: ClassVar[str]

    @pytest.fixture(autouse=True)
    def _pooler(self) -> None:
        pgbouncer_program()  # skipped before anything is opened

    async def before(self) -> None:
        await super().before()
        self.stack = ExitStack()
        setup = f"SET search_path = {self.schema.name}, pg_catalog"
        self.pooler = self.stack.enter_context(pgbouncer(self.url, self.mode, setup=setup, default_pool_size=3)).url

    async def after(self) -> None:
        self.stack.close()
        await super().after()


class TestPostgresStoreInTransactionMode(Behind, StoreContract):
    mode = "transaction"

    def make_store(self, clock: ManualClock) -> PostgresStore:
        return PostgresStore(self.pooler, **BEHIND)

    make_peer = make_store


class TestAsyncPostgresStoreInTransactionMode(Behind, AsyncStoreContract):
    mode = "transaction"

    def make_store(self, clock: ManualClock) -> AsyncPostgresStore:
        return AsyncPostgresStore(self.pooler, **BEHIND)

    make_peer = make_store


def test_who_forgets_to_tell_of_the_pooler_is_told(postgres_url: str) -> None:
    with pgbouncer(postgres_url, "transaction") as pooler:
        store = PostgresStore(pooler.url, **OPTIONS)
        with pytest.raises(StoreUnavailable, match=r"behind a pooler of transactions, give prepare=False"):
            store.open()


class TestPostgresStoreInStatementMode(TestPostgresStoreInTransactionMode):
    mode = "statement"


class TestAsyncPostgresStoreInStatementMode(TestAsyncPostgresStoreInTransactionMode):
    mode = "statement"
