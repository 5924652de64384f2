"""Logins that were made on the Node side, as Passport makes them, are found by ``by_owner`` after a `reindex`."""

from __future__ import annotations

import inspect
import uuid
from typing import Any

import anyio
import pytest

from sojourn import express
from sojourn.stores import reindex, reindex_async, resolve
from tests.interop.sites import Browser, Pair, World

pytestmark = [pytest.mark.server, pytest.mark.express]


def test_a_login_or_logout_by_express_is_found(pair: Pair, browser: Browser, world: World, colour: str) -> None:
    store = resolve(pair.peer.python_url(world.servers), asynchronous=colour == "async", express=True)
    ann, bob = (f"{name}-{uuid.uuid4().hex}" for name in ("ann", "bob"))

    async def found() -> list[list[str]]:
        """What `reindex` makes of it: the sessions of ann, and of bob."""
        if inspect.iscoroutinefunction(store.load):
            await reindex_async(store, codec=express()["codec"], passport=True)
            keys: Any = [await store.by_owner(owner) for owner in (ann, bob)]
            await store.close()
        else:
            reindex(store, codec=express()["codec"], passport=True)
            keys = [store.by_owner(owner) for owner in (ann, bob)]
        return [sorted(some) for some in keys]

    first = browser.visit(pair.express, ["set", ["passport"], {"user": ann}])
    second = world.browser().visit(pair.python, ["set", ["passport"], {"user": ann}])
    assert anyio.run(found) == [sorted([first.id, second.id]), []]
    browser.visit(pair.express, ["set", ["passport", "user"], bob])
    assert anyio.run(found) == [[second.id], [first.id]]
    browser.visit(pair.express, ["delete", ["passport", "user"]])
    assert anyio.run(found) == [[second.id], []]
    if not inspect.iscoroutinefunction(store.load):
        store.close()
