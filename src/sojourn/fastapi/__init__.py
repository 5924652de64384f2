"""Sessions in FastAPI: dependencies for the session, for a part of it as a model, and for whoever is logged in.

app.add_middleware(SessionMiddleware, secret=os.environ["SESSION_SECRET"], store="redis://localhost")

@app.post("/cart/{sku}")
async def add(sku: str, cart: Annotated[Cart, SessionData()], session: SessionDep) -> Cart: ...
"""

from __future__ import annotations

try:
    import fastapi as _fastapi  # noqa: F401 - told first, as what is imported below needs more than that
except ImportError as _error:
    raise ImportError('sojourn.fastapi needs FastAPI: pip install "sojourn[fastapi]"') from _error

from ..starlette import CrossSiteGuard, SessionAuthBackend, StarletteSession, session_of
from .models import SessionData, session_model
from .security import LoggedIn, SessionDep, SessionMiddleware, SessionSecurity, current_session, next_page

__all__ = [
    "CrossSiteGuard",
    "LoggedIn",
    "SessionAuthBackend",
    "SessionData",
    "SessionDep",
    "SessionMiddleware",
    "SessionSecurity",
    "StarletteSession",
    "current_session",
    "next_page",
    "session_model",
    "session_of",
]
