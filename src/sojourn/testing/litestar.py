"""A Litestar test client's session, in a line each: of a ``TestClient``, and awaited of an ``AsyncTestClient``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, overload

from litestar.testing import AsyncTestClient, TestClient

from ..clock import Duration
from ..core.logins import Stamp
from ..core.session import AsyncSession
from ..litestar import SojournPlugin
from .clients import make_request

__all__ = ["log_in", "read_session", "write_session"]

T = TypeVar("T")


@overload
def read_session(client: TestClient[Any]) -> dict[str, Any]: ...
@overload
def read_session(client: AsyncTestClient[Any]) -> Awaitable[dict[str, Any]]: ...
def read_session(client: Any) -> Any:
    """The data of the client's session."""
    return _visit(client, dict)


@overload
def write_session(client: TestClient[Any], data: Mapping[str, Any]) -> None: ...
@overload
def write_session(client: AsyncTestClient[Any], data: Mapping[str, Any]) -> Awaitable[None]: ...
def write_session(client: Any, data: Mapping[str, Any]) -> Any:
    """Put these data into the client's session, which begins if there is none."""
    return _visit(client, lambda session: session.update(data))


@overload
def log_in(
    client: TestClient[Any], owner: str, *, remember: Duration | None = None, stamp: Stamp | None = None
) -> None: ...
@overload
def log_in(
    client: AsyncTestClient[Any], owner: str, *, remember: Duration | None = None, stamp: Stamp | None = None
) -> Awaitable[None]: ...
def log_in(client: Any, owner: str, *, remember: Duration | None = None, stamp: Stamp | None = None) -> Any:
    """Log the client in, by ``session.login(owner, keep_data=True)`` with these arguments too.

    A login with ``remember`` is not fresh; ``stamp`` is what an application asks ``session.check()`` for.
    """
    return _visit(client, lambda session: session.login(owner, keep_data=True, remember=remember, stamp=stamp))


def _visit(client: Any, use: Callable[[AsyncSession], T]) -> T | Awaitable[T]:
    """Use the client's session, on the event loop that the application is on."""
    door = client.app.plugins.get(SojournPlugin).config.door

    async def visit() -> T:
        return await make_request(client, door, use)

    def call() -> T:
        with client.portal() as portal:
            result: T = portal.call(visit)
            return result

    async def call_async() -> T:
        return call()

    return call_async() if isinstance(client, AsyncTestClient) else call()
