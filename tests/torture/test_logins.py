"""Logins on every store and in both colours: each step once, and as many at the same time as the store takes.

`make test` runs some rounds per store, `make torture` five hundred.
"""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from tests.torture.worker import AsyncVisitor, Visitor

pytestmark = [pytest.mark.server, pytest.mark.anyio]

ROUNDS = [pytest.param(20, id="20"), pytest.param(500, id="500", marks=pytest.mark.torture)]
AT_ONCE = 5
"""Logins of a round."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Browsers:
    """Browsers in front of an application, by name, in either colour."""

    def __init__(self, colour: str, store: str) -> None:
        self._visitor: Any = Visitor(store) if colour == "sync" else AsyncVisitor(store)
        self._cookies: dict[str, str | None] = {}

    async def visit(self, browser: str, do: Callable[[Any], Any]) -> Any:
        """What a handler returned."""
        returned: list[Any] = []

        def handle(session: Any) -> Any:
            value = do(session)
            if not inspect.isawaitable(value):
                returned.append(value)
                return None

            async def wait() -> None:
                returned.append(await value)

            return wait()

        answer = self._visitor.request(self._cookies.get(browser), handle)
        status, cookie = await answer if inspect.isawaitable(answer) else answer
        assert status == 200
        if cookie is not None:
            self._cookies[browser] = cookie
        return returned[0]

    async def close(self) -> None:
        closed = self._visitor.close()
        if inspect.isawaitable(closed):
            await closed


def owner_of(session: Any) -> str | None:
    owner: str | None = session.owner
    return owner


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_logins_from_the_first_factor_to_the_last_device(store_url: str, colour: str) -> None:
    site = Browsers(colour, store_url)
    visit = site.visit
    # In two steps, and the cart stays.
    await visit("phone", lambda session: session.update(cart=1))
    await visit("phone", lambda session: session.begin_login("ann", keep_data=True, stamp="old hash"))
    assert await visit("phone", lambda session: (session.owner, session.pending_owner)) == (None, "ann")
    assert await visit("phone", lambda session: session.devices()) == []
    await visit("phone", lambda session: session.complete_login(sid="provider-1"))
    assert await visit("phone", lambda session: (session.owner, session.pending_owner, session["cart"])) == (
        "ann",
        None,
        1,
    )
    # Remembered, and confirmed.
    await asyncio.sleep(0.002)  # of two logins in one millisecond, neither is the older one
    await visit("laptop", lambda session: session.login("ann", remember=timedelta(days=20), stamp="old hash"))
    assert not await visit("laptop", lambda session: session.is_fresh(timedelta(hours=1)))
    await visit("laptop", lambda session: session.confirm())
    assert await visit("laptop", lambda session: session.is_fresh(timedelta(hours=1)))
    assert await visit("laptop", lambda session: session.expires_at - session.created_at) > timedelta(days=19)
    # No more than two; and then the newest takes the oldest's place.
    assert await visit("tv", lambda session: session.try_login("ann", max_sessions=2)) is False
    assert await visit("tv", owner_of) is None
    await visit("tv", lambda session: session.login("ann", max_sessions=2, stamp="old hash", sid="provider-2"))
    assert [await visit(one, owner_of) for one in ("phone", "laptop", "tv")] == [None, "ann", "ann"]
    assert await visit("phone", lambda session: session.try_login("ann", max_sessions=3, sid="provider-1")) is True
    # A changed password.
    await visit("tv", lambda session: session.login("ann", keep_data=True, stamp="new hash", sid="provider-2"))
    assert await visit("tv", lambda session: session.check("new hash"))
    assert not await visit("laptop", lambda session: session.check("new hash"))
    assert not await visit("phone", lambda session: session.check("new hash"))
    assert [await visit(one, owner_of) for one in ("phone", "laptop", "tv")] == [None, None, "ann"]
    # Ended by the provider, and by whoever looks after the site.
    await visit("phone", lambda session: session.login("ann", sid="provider-1"))
    assert await visit("admin", lambda session: session.sessions.end_sid("provider-1", "ann")) == 1
    assert [await visit(one, owner_of) for one in ("phone", "tv")] == [None, "ann"]
    assert await visit("admin", lambda session: session.sessions.end_sid("provider-2")) == 1
    for one in ("phone", "tv"):
        await visit(one, lambda session: session.login("ann"))
        await visit(one, lambda session: session.update(place="home"))
    await visit("laptop", lambda session: session.login("bob"))
    ended = await visit("admin", lambda session: session.sessions.end_where(lambda view: view.get("place") == "home"))
    assert ended == 2
    assert [await visit(one, owner_of) for one in ("phone", "tv", "laptop")] == [None, None, "bob"]
    await site.close()


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_logins_at_the_same_time_never_pass_the_limit(store_url: str, colour: str, rounds: int) -> None:
    """However they fall, no more than the limit are left; and with ``login`` no fewer."""
    site, chance = Browsers(colour, store_url), random.Random(17)
    granted = 0
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for number in range(rounds):
            owner, limit, tries = f"ann-{chance.getrandbits(64)}", chance.randint(1, 3), number % 2 == 0
            browsers = [f"{owner}-{each}" for each in range(AT_ONCE)]

            def log_in(session: Any, owner: str = owner, limit: int = limit, tries: bool = tries) -> Any:
                return (
                    session.try_login(owner, max_sessions=limit) if tries else session.login(owner, max_sessions=limit)
                )

            if colour == "sync":
                loop = asyncio.get_running_loop()
                visits: Any = [loop.run_in_executor(threads, asyncio.run, site.visit(one, log_in)) for one in browsers]
            else:
                visits = [site.visit(one, log_in) for one in browsers]
            said = await asyncio.gather(*visits)
            live = [one for one in browsers if await site.visit(one, owner_of) == owner]
            if tries:
                assert len(live) <= limit, (said, live)
                assert [one for one, was_let in zip(browsers, said, strict=True) if was_let] == live
                granted += len(live)
            else:
                assert len(live) == limit
                await site.visit(browsers[0], log_in)
                assert await site.visit(browsers[0], owner_of) == owner
    await site.close()
    assert granted > 0
    print(f"{rounds} times {AT_ONCE} logins at the same time; none passed its limit")
