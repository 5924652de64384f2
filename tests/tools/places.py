"""The stores on which the command line is tested, each with a URL that another process can open."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from sojourn.clock import system_clock
from sojourn.core.session import Session
from sojourn.core.settings import SessionSettings
from sojourn.stores import resolve
from tests.core.making import DAY, make_settings, record_bytes
from tests.stores.postgres_schema import postgres_schema

__all__ = ["EXPRESS", "NATIVE", "Place", "place"]

NATIVE: Final = ("sqlite", "redis", "postgresql", "mongodb", "redis+cluster")
EXPRESS: Final = ("redis connect-redis", "postgresql connect-pg-simple", "mongodb connect-mongo")


class Place:
    """A store that is empty at first."""

    def __init__(self, url: str, store: Any, settings: SessionSettings) -> None:
        self.url = url
        self.store = store
        self.settings = settings
        self.codec: Any = settings.codec
        """What seals the records."""

    def keep(self, session_id: str, owner: str | None = None, *, ttl: int = DAY, **data: Any) -> str:
        """A session; returns its key."""

        def login(session: Session) -> None:
            if owner is not None:
                session.login(owner, keep_data=True)

        key = self.settings.key_of(session_id)
        text = record_bytes(self.settings, data or {"n": 1}, before=login)
        self.store.create(key, self.codec.seal(text, key), ttl, owner=owner)
        return key


@contextmanager
def place(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[Place]:
    """A store of such a kind while the block runs; its layout follows the server's name."""
    server, _, layout = kind.partition(" ")
    made: Callable[[str], Any] = lambda url: resolve(url, asynchronous=False)  # noqa: E731
    settings = make_settings(express_profile=bool(layout), clock=system_clock)
    of_layout = f"&layout={layout}" if layout else ""
    if server == "sqlite":
        url = f"sqlite:///{folder / 'sessions.db'}"
        with closing(made(url)) as store:
            store.open()
            yield Place(url, store, settings)
    elif server == "postgresql":
        with postgres_schema(request.getfixturevalue("postgres_url")) as schema:
            url = f"{schema.url}?schema={schema.name}{of_layout}"
            with closing(made(f"{url}&create_table=true")) as store:
                store.open()
                yield Place(url, store, settings)
    else:
        if server == "mongodb":
            url = request.getfixturevalue("mongodb").url(**({"layout": layout} if layout else {}))
        else:
            base = request.getfixturevalue("redis_url" if server == "redis" else "valkey_cluster")
            url = f"{base}?prefix=test-{secrets.token_hex(6)}:{of_layout}"
        with closing(made(url)) as store:
            store.open()
            yield Place(url, store, settings)
            store.clear()
