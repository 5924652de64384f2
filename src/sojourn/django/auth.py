"""Views for which the password is asked for again: a decorator, and a mixin for class-based views."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, ClassVar

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseRedirect
from django.shortcuts import resolve_url

from ..clock import Duration, duration_ms
from ..wire.next_page import NEXT, present_page, with_next
from .middleware import session_of

__all__ = ["FreshRequiredMixin", "fresh_required"]

View = Callable[..., Any]


def fresh_required(
    within: Duration = timedelta(minutes=15),
    *,
    login_url: str | None = None,
    redirect_field_name: str = NEXT,
    raise_exception: bool = False,
) -> Callable[[View], View]:
    """A decorator for views, sync or async: only for whoever has just given the password.

    Everybody else is redirected to the login page, which is to come back to the page that was asked for; a login makes the session fresh again,
    the same user's too. A page of your own, which asks for the password alone, calls ``request.session.confirm()``.

    Args:
        within: how long ago the password may have been given at most, a `timedelta` or seconds; see `SessionStore.is_fresh`.
        login_url: a URL, or a view's name, in the place of the setting ``LOGIN_URL``.
        redirect_field_name: the name of the parameter that has the page that was asked for.
        raise_exception: raise `PermissionDenied`, which is a 403, instead of redirecting.

    Raises:
        ConfigurationError: ``within`` is no duration.
    """
    duration_ms("within", within)

    def refuse(request: HttpRequest) -> HttpResponseRedirect:
        if raise_exception:
            raise PermissionDenied
        path, _mark, query = request.get_full_path().partition("?")
        page = present_page(request.method or "", path, query)
        location = with_next(resolve_url(login_url or settings.LOGIN_URL), page, redirect_field_name)
        return HttpResponseRedirect(location, status=303)

    def decorate(view: View) -> View:
        if iscoroutinefunction(view):

            @wraps(view)
            async def guarded_async(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                is_fresh = await session_of(request).ais_fresh(within)
                return (await view(request, *args, **kwargs)) if is_fresh else refuse(request)

            return guarded_async

        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return view(request, *args, **kwargs) if session_of(request).is_fresh(within) else refuse(request)

        return guarded

    return decorate


class FreshRequiredMixin:
    """`fresh_required` for class-based views, of which it is the first base class. Its arguments are attributes of the class."""

    fresh_within: ClassVar[Duration] = timedelta(minutes=15)
    login_url: ClassVar[str | None] = None
    redirect_field_name: ClassVar[str] = NEXT
    raise_exception: ClassVar[bool] = False

    @classmethod
    def as_view(cls, **initkwargs: Any) -> View:
        """Django's: the view function."""
        view: View = super().as_view(**initkwargs)  # type: ignore[misc]
        return fresh_required(
            cls.fresh_within,
            login_url=cls.login_url,
            redirect_field_name=cls.redirect_field_name,
            raise_exception=cls.raise_exception,
        )(view)
