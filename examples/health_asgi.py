"""Liveness and readiness beside sessions, in ASGI. Run it:  uvicorn health_asgi:app --workers 2"""

import os

from fastapi import FastAPI

from sojourn.fastapi import SessionDep, SessionMiddleware
from sojourn.health import ASGIHealth

STORE = os.environ.get("SESSION_STORE", "sqlite:///sessions.db")
SECRET = os.environ.get("SESSION_SECRET", "an example secret of more than 32 bytes")

app = FastAPI()
app.mount("/health", ASGIHealth(STORE))  # the same URL: the middleware's own store
app.add_middleware(SessionMiddleware, secret=SECRET, store=STORE)


@app.get("/counter")
async def counter(session: SessionDep) -> dict[str, int]:
    return {"visits": session.increment("visits")}
