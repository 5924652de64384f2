"""A Quart test client's session, in a line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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


async def log_in(client: TestClientProtocol, owner: str, **request: Any) -> None:
    """Log the client in, by ``session.login(owner, keep_data=True)``; see `read_session`."""
    async with client.session_transaction(**request) as session:
        assert isinstance(session, AsyncSession)
        session.login(owner, keep_data=True)
