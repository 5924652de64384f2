"""Sessions in aiohttp: ``request["session"]``, or ``await get_session(request)`` as with aiohttp-session.

Example::

    async def login(request: web.Request) -> web.StreamResponse:
        session = await get_session(request)
        session.login(user_id, keep_data=True)
        raise web.HTTPFound("/account")  # saved before the redirect leaves

    app = web.Application()
    setup(app, secret=os.environ["SESSION_SECRET"], store="redis://localhost")

`sojourn.aiohttp.security` has an identity policy for aiohttp-security.
"""

from .door import SESSION, SessionMiddleware, get_session, new_session, setup
from .face import AiohttpSession
from .fresh import check_fresh, next_page
from .guard import CrossSiteGuard

__all__ = [
    "SESSION",
    "AiohttpSession",
    "CrossSiteGuard",
    "SessionMiddleware",
    "check_fresh",
    "get_session",
    "new_session",
    "next_page",
    "setup",
]
