"""How type checkers see a session, in both colours: these lines are checked, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from typing import Any, assert_type

from sojourn import AsyncSession, Flash, Session
from sojourn.core.session_cookie import SessionCookie
from sojourn.core.views import AsyncSessions, Sessions, SessionView


def sync(session: Session) -> None:
    session["n"] = 1
    assert_type(session["n"], Any)
    assert_type(session.id, str)
    assert_type(session.signed_id, str)
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
    session.regenerate(keep_data=True)
    session.invalidate()
    session.clear()
    session.touch()
    session.logout()
    session.save()
    session.reload()
    session.id = "x"  # type: ignore[misc]
    session.cookie.samesite = "Lax"  # type: ignore[assignment]
    session.cookie.httponly = "no"  # type: ignore[assignment]
    session.regenerate(True)  # type: ignore[call-arg]
    session.login(None)  # type: ignore[arg-type]
    session[1] = 2  # type: ignore[index]
    session.user = "ann"  # type: ignore[attr-defined]
    session.permanent  # type: ignore[attr-defined]  # noqa: B018 - a checker sees it before anybody runs it


def views(session: Session) -> None:
    assert_type(session.sessions, Sessions)
    view = session.sessions.get("id")
    assert_type(view, SessionView | None)
    assert view is not None
    assert_type(view.key, str)
    assert_type(view.data, Mapping[str, Any])
    assert_type(view["n"], Any)
    assert_type(view.owner, str | None)
    assert_type(view.created_at, datetime | None)
    assert_type(view.expires_at, datetime | None)
    assert_type(session.sessions.all(), Iterator[SessionView])
    assert_type(session.sessions.by_owner("ann"), Iterator[SessionView])
    assert_type(session.sessions.destroy(view), bool)
    assert_type(session.sessions.count(), int)
    assert_type(session.sessions.clear(), int)
    view["n"] = 2  # type: ignore[index]


async def asynchronous(session: AsyncSession) -> None:
    session["n"] = 1
    await session.load()
    await session.save()
    await session.reload()
    assert_type(session.sessions, AsyncSessions)
    assert_type(await session.sessions.get("id"), SessionView | None)
    assert_type(session.sessions.by_owner("ann"), AsyncIterator[SessionView])
    assert_type(await session.sessions.destroy("id"), bool)
    session.invalidate()
    session.destroy()
    session.save()  # type: ignore[unused-coroutine]
    sync(session)  # type: ignore[arg-type]
