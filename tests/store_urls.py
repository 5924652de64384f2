"""A store of each kind, by URL, for tests that are about what is on top of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers import MongoServer
from tests.stores.postgres_schema import postgres_schema

__all__ = ["store_of"]


@contextmanager
def store_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """The URL of an empty store, of its own on the server that the tests share."""
    if kind == "memory":
        yield "memory://"
    elif kind == "sqlite":
        yield f"sqlite:///{folder}/sessions.db"
    elif kind == "redis":
        yield f"{request.getfixturevalue('redis_url')}?prefix=test-{os.urandom(4).hex()}:"
    elif kind == "postgres":
        with postgres_schema(request.getfixturevalue("postgres_url")) as schema:
            yield f"{schema.url}?table=session&schema={schema.name}&create_table=true"
    else:
        server: MongoServer = request.getfixturevalue("mongodb")
        yield server.url()
