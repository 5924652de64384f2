"""What a handler asks for first: a login, and that the password was given lately."""

from __future__ import annotations

from aiohttp import web

from ..clock import Duration
from ..wire.next_page import NEXT, is_of_this_site, present_page, with_next
from .door import get_session
from .face import AiohttpSession

__all__ = ["check_fresh", "next_page"]


async def check_fresh(request: web.Request, within: Duration, confirm_page: str | None = None) -> AiohttpSession:
    """The session, if its owner has just given the password. In the manner of aiohttp-security's ``check_authorized``.

    Args:
        request: the request.
        within: how long ago that may have been at most, a `timedelta` or seconds; see `sojourn.AsyncSession.is_fresh`.
        confirm_page: the path of the page that asks for it again.

    Raises:
        HTTPUnauthorized: nobody is logged in.
        HTTPSeeOther: to ``confirm_page``, with the page that was asked for as ``next``; see `next_page`.
        HTTPForbidden: there is no such page.
    """
    session = await get_session(request)
    if session.owner is None:
        raise web.HTTPUnauthorized
    if session.is_fresh(within):
        return session
    if confirm_page is None:
        raise web.HTTPForbidden
    url = request.rel_url
    page = present_page(request.method, url.raw_path, url.raw_query_string)
    raise web.HTTPSeeOther(with_next(confirm_page, page), headers={"Cache-Control": "no-store"})


def next_page(request: web.Request, default: str = "/") -> str:
    """Where to go from here, once somebody has logged in or confirmed: the page that was asked for before, if it is one of this site."""
    page = request.query.get(NEXT, "")
    return page if is_of_this_site(page) else default
