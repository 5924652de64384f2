"""A Quart test client's session, in a line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..clock import Duration
from ..core.logins import Stamp
from ..core.session import AsyncSession

if TYPE_CHECKING:
    from quart.typing import TestClientProtocol

__all__ = ["log_in", "read_session", "write_session"]


async def read_session(client: TestClientProtocol, **request: Any) -> dict[str, Any]:
    """The data of the client's session.

    Args:
        client: the client.
        request: as the client's ``session_transaction`` takes it, such as ``scheme="https"``.
    """
    async with client.session_transaction(**request) as session:
        return dict(session)


async def write_session(client: TestClientProtocol, data: Mapping[str, Any], **request: Any) -> None:
    """Put these data into the client's session, which begins if there is none; see `read_session`."""
    async with client.session_transaction(**request) as session:
        session.update(data)


async def log_in(
    client: TestClientProtocol,
    owner: str,
    *,
    remember: Duration | None = None,
    stamp: Stamp | None = None,
    **request: Any,
) -> None:
    """Log the client in, by ``session.login(owner, keep_data=True)`` with these arguments too; see `read_session`.

    A login with ``remember`` is not fresh; ``stamp`` is what an application asks ``session.check()`` for.
    """
    async with client.session_transaction(**request) as session:
        assert isinstance(session, AsyncSession)
        session.login(owner, keep_data=True, remember=remember, stamp=stamp)
