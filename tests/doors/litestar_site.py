"""An application of Litestar's for its own command line, and for a real server."""

from __future__ import annotations

import os
from typing import Any

from litestar import Litestar, Request, get

from sojourn.litestar import SessionDep, SojournPlugin
from sojourn.stores import AsyncMemoryStore
from tests.doors.litestar_apps import QUIET

STORE = AsyncMemoryStore()


@get("/count")
async def count(session: SessionDep) -> int:
    return int(session.increment("n"))


@get("/id")
async def session_id(request: Request[Any, Any, Any]) -> str | None:
    return request.get_session_id()


app = Litestar(
    [count, session_id],
    plugins=[SojournPlugin(secret=os.environ.get("SESSION_SECRET", "s" * 32), store=STORE)],
    **QUIET,
)
