"""The session of a Django test client, in a line each, and a store for each test.

Django rolls its database back after a test, but no other store: put `isolated_sessions` around each test, or call `clear`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.test import override_settings

from ..django.config import current
from ..django.engine import SessionStore
from ..stores import MemoryStore

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.test.client import AsyncClient, Client

__all__ = [
    "alog_in",
    "aread_session",
    "awrite_session",
    "clear",
    "isolated_sessions",
    "log_in",
    "read_session",
    "write_session",
]


@contextmanager
def isolated_sessions() -> Iterator[MemoryStore]:
    """Within it, sessions are kept in a store in memory that begins empty.

    Example::

        @pytest.fixture(autouse=True)
        def sessions():
            with isolated_sessions() as store:
                yield store
    """
    store = MemoryStore()
    with override_settings(SOJOURN={**getattr(settings, "SOJOURN", {}), "store": store}):
        yield store


def clear() -> int:
    """End all sessions of the store that the settings name; returns how many.

    A store for Redis takes for its own whatever begins with its prefix.
    """
    return current().sync.sessions.clear()


def read_session(client: Client | AsyncClient) -> dict[str, Any]:
    """The data of the client's session; empty where it has none."""
    return _session_of(client).load()


async def aread_session(client: Client | AsyncClient) -> dict[str, Any]:
    """The same on an event loop."""
    return await _session_of(client).aload()


def write_session(client: Client | AsyncClient, data: Mapping[str, Any]) -> None:
    """Put these data into the client's session, which begins if there is none."""
    session = _session_of(client)
    session.update(data)
    session.save()
    _keep(client, session)


async def awrite_session(client: Client | AsyncClient, data: Mapping[str, Any]) -> None:
    """The same on an event loop."""
    session = _session_of(client)
    await session.aupdate(data)
    await session.asave()
    _keep(client, session)


def log_in(client: Client | AsyncClient, user: AbstractBaseUser, backend: str | None = None) -> None:
    """Log the client in, by its ``force_login``.

    The cookie is one that our middleware has signed: it may be given to a browser that visits a live server.
    """
    client.force_login(user, backend)
    _keep(client, _session_of(client))


async def alog_in(client: Client | AsyncClient, user: AbstractBaseUser, backend: str | None = None) -> None:
    """The same on an event loop."""
    await client.aforce_login(user, backend)
    _keep(client, _session_of(client))


def _session_of(client: Client | AsyncClient) -> SessionStore:
    cookie = client.cookies.get(settings.SESSION_COOKIE_NAME)
    return SessionStore(cookie.value if cookie is not None and cookie.value else None)


def _keep(client: Client | AsyncClient, session: SessionStore) -> None:
    client.cookies[settings.SESSION_COOKIE_NAME] = session.signed_key or ""
