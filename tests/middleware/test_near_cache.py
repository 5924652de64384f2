"""A store with a near cache: the first look-up of a request uses it, nothing else does, and what is stale harms nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sojourn import AsyncSession
from sojourn.asgi import SessionMiddleware
from sojourn.core.store import Stored, near_of
from sojourn.errors import ConfigurationError
from sojourn.stores import AsyncMemoryStore
from tests.core.making import SECRET

pytestmark = pytest.mark.anyio


class NearStore(AsyncMemoryStore):
    """A memory store that counts its loads, with a near cache that nobody tells of a change."""

    def __init__(self) -> None:
        super().__init__()
        self.loads = 0
        self.known: dict[str, Stored] = {}

    @property
    def near(self) -> Callable[[str], Stored | None]:
        return self.known.get

    async def load(self, key: str) -> Any:
        self.loads += 1
        found = await super().load(key)
        if isinstance(found, Stored):
            self.known.setdefault(key, found)
        return found


class Site:
    """An application and one visitor."""

    def __init__(self, **options: Any) -> None:
        self.store = NearStore()
        self.handler: Callable[[AsyncSession], Awaitable[object]]
        self.app = SessionMiddleware(self._app, secret=SECRET, store=self.store, **options)
        self.cookie: bytes | None = None

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        await self.handler(scope["session"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def visit(self, handler: Callable[[AsyncSession], Awaitable[object]], path: str = "/") -> int:
        """One request; returns how often the store was asked for the record."""
        self.handler, before, sent = handler, self.store.loads, []

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [] if self.cookie is None else [(b"cookie", self.cookie)]
        scope = {
            "type": "http",
            "path": path,
            "method": "GET",
            "scheme": "http",
            "query_string": b"",
            "headers": headers,
        }
        await self.app(scope, lambda: None, send)  # type: ignore[arg-type, return-value]  # there is no body
        for name, value in sent[0]["headers"]:
            if name.lower() == b"set-cookie":
                self.cookie = value.partition(b";")[0]
        return self.store.loads - before


async def nothing(session: AsyncSession) -> None:
    """Neither read nor write."""


async def reading(session: AsyncSession) -> None:
    assert session["n"] == 1


async def writing(session: AsyncSession) -> None:
    session["n"] = 1


@pytest.fixture
async def site() -> Site:
    site = Site()
    await site.visit(writing)
    assert await site.visit(reading) == 1  # and known from now on
    return site


async def test_the_first_look_up_asks_the_near_cache_first(site: Site):
    assert await site.visit(reading) == 0


async def test_where_the_request_is_to_be_fresh_the_store_is_asked():
    asked: list[str] = []

    def fresh(scope: Any) -> bool:
        asked.append(scope["path"])
        return bool(scope["path"] == "/money")

    site = Site(fresh=fresh)
    await site.visit(writing)
    await site.visit(reading)
    assert [await site.visit(reading), await site.visit(reading, "/money"), await site.visit(reading)] == [0, 1, 0]
    assert asked[-3:] == ["/", "/money", "/"]


@pytest.mark.parametrize("given", [True, "/money"])
def test_fresh_is_a_function(given: object):
    with pytest.raises(ConfigurationError, match="fresh"):
        Site(fresh=given)


async def test_a_lazy_load_uses_it_and_a_reload_does_not():
    site = Site(lazy=True)
    await site.visit(writing)

    async def load(session: AsyncSession) -> None:
        await session.load()
        assert session["n"] == 1

    async def reload(session: AsyncSession) -> None:
        await session.reload()
        assert session["n"] == 1

    assert [await site.visit(load), await site.visit(load), await site.visit(reload)] == [1, 0, 1]


async def test_a_reload_asks_the_store(site: Site):
    async def again(session: AsyncSession) -> None:
        await session.reload()

    assert await site.visit(again) == 1


async def test_an_exclusive_request_asks_the_store():
    site = Site(exclusive=lambda scope: scope["path"] == "/pay")
    await site.visit(writing)
    await site.visit(reading)
    assert await site.visit(reading) == 0
    assert await site.visit(reading, "/pay") > 0


async def test_the_view_of_other_sessions_asks_the_store(site: Site):
    async def look(session: AsyncSession) -> None:
        view = await session.sessions.get(session.id)
        assert view is not None and view["n"] == 1

    assert await site.visit(look) == 1


async def test_a_change_of_a_stale_session_is_merged_with_what_lies_in_the_store(site: Site):
    key, stale = next(iter(site.store.known.items()))

    async def counting(session: AsyncSession) -> None:
        session.increment("n")
        session[f"m{session['n']}"] = True

    await site.visit(counting)
    site.store.known[key] = stale  # it knows nothing of that

    async def counting_on(session: AsyncSession) -> None:
        assert session["n"] == 1
        session.increment("n")
        session["mine"] = True

    await site.visit(counting_on)
    site.store.known.clear()

    async def look(session: AsyncSession) -> None:
        assert dict(session) == {"n": 3, "m2": True, "mine": True}

    await site.visit(look)


async def test_a_stale_session_that_has_ended_is_not_revived_by_a_write(site: Site):
    (key,) = site.store.known
    site.store.direct.delete(key)

    async def write(session: AsyncSession) -> None:
        session["n"] = 2

    await site.visit(write)
    site.store.known.clear()
    assert await site.store.load(key) is None


async def test_a_subclass_inherits_no_near_cache():
    class Other(NearStore):
        """It may have changed a method."""

    assert near_of(NearStore()) is not None
    assert near_of(Other()) is None
    assert near_of(AsyncMemoryStore()) is None
