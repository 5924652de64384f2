"""Views for which the password is asked for again: the view option ``require_fresh``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pyramid.httpexceptions import HTTPForbidden, HTTPSeeOther

from ..clock import duration_ms
from ..wire.next_page import NEXT, is_of_this_site, present_page, with_next
from ..wsgi import path_of

__all__ = ["add_option", "next_page"]

_OPTION: Final = "require_fresh"
_STALE: Final = "the password is needed again"

View = Callable[[Any, Any], Any]


def add_option(config: Any, route: str | None) -> None:
    """Give views the option, and let those who are not fresh be redirected to a route; None for a 403."""

    def fresh_view(view: View, info: Any) -> View:
        within = info.options.get(_OPTION)
        if within is None:
            return view
        duration_ms(_OPTION, within)

        def guarded(context: Any, request: Any) -> Any:
            session = request.session
            if session.owner is None:
                raise HTTPForbidden
            if not session.is_fresh(within):
                if route is None:
                    raise HTTPForbidden(_STALE)
                page = present_page(request.method, path_of(request.environ), request.query_string)
                raise HTTPSeeOther(with_next(request.route_path(route), page), cache_control="no-store")
            return view(context, request)

        return guarded

    fresh_view.options = (_OPTION,)  # type: ignore[attr-defined]  # as Pyramid asks of a view deriver
    config.add_view_deriver(fresh_view, under="secured_view", over="owrapped_view")


def next_page(request: Any, default: str = "/") -> str:
    """Where to go from here, once somebody has logged in or confirmed: the page that was asked for before, if it is one of this site."""
    page: str = request.GET.get(NEXT, "")
    return page if is_of_this_site(page) else default
