"""The stores that are tortured, each by its URL: workers in other processes open it for themselves."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import MongoServer, PostgresServer

STORES = ("sqlite", "redis", "redis-cluster", "postgresql", "mongodb")


@pytest.fixture(params=STORES)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """One store after the other, empty or with a name of its own."""
    yield from store_of(request, tmp_path)


def store_of(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The store that a fixture's parameter names."""
    unique = uuid.uuid4().hex[:12]
    match request.param:
        case "memory":
            yield "memory://"
        case "sqlite":
            yield f"sqlite:///{tmp_path}/sessions.db?timeout=30"
        case "redis":
            yield f"{request.getfixturevalue('redis_url')}?prefix={unique}:&timeout=20"
        case "redis-cluster":
            yield f"{request.getfixturevalue('valkey_cluster')}?prefix={unique}:&timeout=20"
        case "postgresql":
            url = request.getfixturevalue("postgres_url")
            yield f"{url}{'&' if '?' in url else '?'}table=s_{unique}&create_table=true&timeout=20"
        case _:
            server = request.getfixturevalue("mongodb")
            assert isinstance(server, MongoServer)
            yield server.url(f"sojourn_{unique}", timeoutMS=20000)


__all__ = ["PostgresServer", "store_of", "store_url"]
