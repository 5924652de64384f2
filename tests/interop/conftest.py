"""The sites, and at the end a line on how many scenarios agreed with which peers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import quote

import pytest
from psycopg import sql

from tests.interop.peers import PEERS, SCHEMA, Peer, Servers, execute
from tests.interop.sites import Browser, Pair, Site, World
from tests.node_peer import version

_HERE = Path(__file__).parent
_WORLD = pytest.StashKey[World]()
_AGREED = "agreed with"
# Not UTC, so that who does not heed the zone of the connection is found out.
_ZONE = f"options={quote('-c TimeZone=America/New_York')}"


@pytest.fixture(scope="session")
def world(request: pytest.FixtureRequest) -> World:
    @cache
    def postgres() -> str:
        url: str = request.getfixturevalue("postgres_url")
        url += f"{'&' if '?' in url else '?'}{_ZONE}"
        schema = sql.Identifier(SCHEMA)
        execute(url, sql.SQL("CREATE SCHEMA {}").format(schema))
        made.at_end(execute, url, sql.SQL("DROP SCHEMA {} CASCADE").format(schema))
        made.at_end(postgres.cache_clear)
        return url

    @cache
    def mongodb() -> str:
        url: str = request.getfixturevalue("mongodb").url(retryWrites="false")
        return url

    made = request.config.stash[_WORLD] = World(
        Servers(lambda: request.getfixturevalue("redis_url"), postgres, mongodb)
    )
    return made


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest) -> Peer:
    return PEERS[request.param]


@pytest.fixture(params=["async", "sync"])
def colour(request: pytest.FixtureRequest) -> str:
    colour: str = request.param
    return colour


@pytest.fixture
def pair(peer: Peer, colour: str, world: World) -> Pair:
    """An application on either side, with the defaults of both."""
    return world.pair(peer, colour)


@pytest.fixture(params=["express first", "python first"])
def sides(request: pytest.FixtureRequest, pair: Pair) -> tuple[Site, Site]:
    """The two sites, in either order."""
    return (pair.express, pair.python) if request.param == "express first" else (pair.python, pair.express)


@pytest.fixture
def browser(world: World) -> Browser:
    return world.browser()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Note which packages the test has agreed with."""
    made = item.config.stash.get(_WORLD, None)
    met = set[str]() if made is None else made.met
    try:
        yield
        item.user_properties += [(_AGREED, package) for package in sorted(met)]
    finally:
        met.clear()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End the world after the last test here, until there are others: the servers, which are fixtures that came later, would end before it."""
    if (nextitem is None or not nextitem.path.is_relative_to(_HERE)) and (made := item.config.stash.get(_WORLD, None)):
        made.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    agreed = Counter(
        package
        for report in terminalreporter.getreports("passed")
        if report.when == "call"
        for name, package in report.user_properties
        if name == _AGREED
    )
    if agreed:
        peers = ", ".join(f"{count} with {package} {version(package)}" for package, count in sorted(agreed.items()))
        terminalreporter.write_line(
            f"interop: {agreed.total()} scenarios agreed: {peers}; express-session {version('express-session')}, "
            f"express {version('express')}"
        )
