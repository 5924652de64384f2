"""Views for which the password is asked for again."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import flask
from werkzeug.exceptions import Forbidden, Unauthorized

from ..clock import Duration, duration_ms
from ..core.session import BaseSession
from ..wire.next_page import NEXT, is_of_this_site, present_page, with_next
from ..wsgi import path_of
from .logins import current_session

__all__ = ["check_fresh", "fresh_required", "next_page"]

P = ParamSpec("P")


def fresh_required(within: Duration) -> Callable[[Callable[P, Any]], Callable[P, Any]]:
    """A decorator for views, below the one of the route: only for whoever has just given the password.

    Whoever gave it before that is redirected to the view that ``Sojourn(confirm_view=...)`` names, with the page that was asked for as ``next``,
    or gets a 403 where none is named. Nobody being logged in is a 401.

    Example::

        @app.get("/account/delete")
        @fresh_required(timedelta(minutes=15))
        def delete_account(): ...

    Args:
        within: how long ago the password may have been given at most, a `timedelta` or seconds; see `sojourn.Session.is_fresh`.

    Raises:
        ConfigurationError: ``within`` is no duration.
    """
    duration_ms("within", within)

    def decorate(view: Callable[P, Any]) -> Callable[P, Any]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
            page = check_fresh(flask.current_app, current_session(), within)
            if page is None:
                return flask.current_app.ensure_sync(view)(*args, **kwargs)
            environ = flask.request.environ
            asked_for = present_page(flask.request.method, path_of(environ), environ.get("QUERY_STRING", ""))
            return flask.redirect(with_next(flask.url_for(page), asked_for), 303)

        return guarded

    return decorate


def check_fresh(app: Any, session: BaseSession | None, within: Duration) -> str | None:
    """The view to redirect to; None where the password was given so recently.

    Raises:
        Unauthorized: nobody is logged in.
        Forbidden: there is no such view.
    """
    if session is None or session.owner is None:
        raise Unauthorized
    if session.is_fresh(within):
        return None
    view: str | None = getattr(app.session_interface, "confirm_view", None)
    if view is None:
        raise Forbidden
    return view


def next_page(default: str = "/") -> str:
    """Where to go from here, once somebody has logged in or confirmed: the page that was asked for before, if it is one of this site."""
    page = flask.request.args.get(NEXT, "")
    return page if is_of_this_site(page) else default
