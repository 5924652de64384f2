"""A WebSocket on the Python side learns what Express does with its session."""

from __future__ import annotations

import asyncio

import pytest

from sojourn import express
from tests.interop.peers import Peer
from tests.interop.sites import SECRET, Browser, World
from tests.live import closing, serving, site

pytestmark = [pytest.mark.server, pytest.mark.express, pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_what_express_changes_and_ends_a_socket_learns(peer: Peer, world: World, browser: Browser):
    theirs = world.express(peer)
    await asyncio.to_thread(browser.visit, theirs, ["set", ["n"], 1])
    given = express(secret=SECRET, store=peer.python_url(world.servers))
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    async with (
        serving(site(**given)) as plain,
        serving(site(**given, close_on_end=True)) as strict,
        plain.opened(cookie, "/changes") as told,
        strict.opened(cookie) as watched,
    ):
        await watched.send("hello")
        assert await watched.recv() == "hello"
        await asyncio.to_thread(browser.visit, theirs, ["set", ["n"], 2])
        assert await asyncio.wait_for(told.recv(), 10) == "changed"
        await asyncio.to_thread(browser.visit, theirs, ["destroy"])
        assert await asyncio.wait_for(told.recv(), 10) == "ended gone"
        assert await closing(watched, 10) == 1008
