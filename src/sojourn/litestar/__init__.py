"""Sessions for Litestar: ``request.session`` is kept in a store, for requests and WebSockets.

Example::

    @post("/cart/{sku:str}", guards=[logged_in])
    async def add(sku: str, session: SessionDep) -> dict[str, int]: ...

    app = Litestar([add], plugins=[SojournPlugin(secret=os.environ["SESSION_SECRET"], store="redis://localhost")])
"""

from __future__ import annotations

try:
    import litestar as _litestar  # noqa: F401 - told first, as what is imported below needs more than that
except ImportError as _error:
    raise ImportError('sojourn.litestar needs Litestar: pip install "sojourn[litestar]"', name=_error.name) from _error

from .config import SojournConfig
from .connection import FreshLogin, SessionDep, load_session, logged_in, next_page, session_of
from .door import LitestarSession, SessionMiddleware
from .guard import CrossSiteGuard
from .models import session_data
from .plugin import SojournPlugin

__all__ = [
    "CrossSiteGuard",
    "FreshLogin",
    "LitestarSession",
    "SessionDep",
    "SessionMiddleware",
    "SojournConfig",
    "SojournPlugin",
    "load_session",
    "logged_in",
    "next_page",
    "session_data",
    "session_of",
]
