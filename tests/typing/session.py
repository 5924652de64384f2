"""How type checkers see a session, in both colours: these lines are checked, never run."""

from __future__ import annotations

from datetime import datetime
from typing import Any, assert_type

from sojourn import AsyncSession, Flash, Session
from sojourn.core.session_cookie import SessionCookie


def sync(session: Session) -> None:
    session["n"] = 1
    assert_type(session["n"], Any)
    assert_type(session.id, str)
    assert_type(session.key, str)
    assert_type(session.is_new, bool)
    assert_type(session.owner, str | None)
    assert_type(session.created_at, datetime)
    assert_type(session.expires_at, datetime)
    assert_type(session.authenticated_at, datetime | None)
    assert_type(session.cookie, SessionCookie)
    assert_type(session.cookie.path, str)
    assert_type(session.cookie.max_age, float | None)
    assert_type(session.flashes(), list[Flash])
    session.cookie.samesite = "strict"
    session.login("ann", keep_data=True)
    session.save()
    session.reload()
    session.id = "x"  # type: ignore[misc]
    session.cookie.samesite = "Lax"  # type: ignore[assignment]
    session.cookie.httponly = "no"  # type: ignore[assignment]
    session.regenerate(True)  # type: ignore[call-arg]
    session.login(None)  # type: ignore[arg-type]
    session[1] = 2  # type: ignore[index]


async def asynchronous(session: AsyncSession) -> None:
    session["n"] = 1
    await session.load()
    await session.save()
    await session.reload()
    session.destroy()
    session.save()  # type: ignore[unused-coroutine]
    sync(session)  # type: ignore[arg-type]
