"""The middleware: what Django's does, with what our other doors do.

The session is loaded on first use, or before the view on an event loop, where using it would wait. It is committed once, when the view has
made its response: what was changed, and whether its key changes or it ends. What is changed while a body is streamed is saved at its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.sessions import middleware
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.exceptions import SessionInterrupted
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from ..core.plan import Phase
from ..errors import ConfigurationError, StoreError
from .config import current
from .engine import SessionStore
from .exchange import Closing, arrive_in, unavailable

__all__ = ["SessionMiddleware", "session_of"]

_OPENED: Final = "_sojourn_session"
"""Under which name the request keeps the session it began with, whatever takes its place."""
_LOST: Final = "The request's session was deleted before the request completed, and what it was to keep is not saved."


def session_of(request: HttpRequest) -> SessionStore:
    """``request.session``, with the type that it has.

    Raises:
        RuntimeError: it is none of ours.
    """
    session = getattr(request, "session", None)
    if isinstance(session, SessionStore):
        return session
    raise RuntimeError(
        'the request has no session of Sojourn: SESSION_ENGINE is to be "sojourn.django", with a SessionMiddleware'
    )


class SessionMiddleware(middleware.SessionMiddleware):
    """In the place of ``django.contrib.sessions.middleware.SessionMiddleware``, with ``SESSION_ENGINE = "sojourn.django"``.

    Raises:
        ConfigurationError: the engine is another one, or a setting is wrong.
    """

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        super().__init__(get_response)
        if not issubclass(self.SessionStore, SessionStore):
            raise ConfigurationError(
                "SESSION_ENGINE", repr(settings.SESSION_ENGINE), 'give "sojourn.django", or a module with a subclass'
            )
        current()

    def __call__(self, request: HttpRequest) -> Any:
        try:
            return super().__call__(request)
        except (
            BaseException
        ):  # of a server that stops, or a time that has run out: Django makes responses of all others
            if (left := _left(request)) is not None:
                left.finish(failed=True)
            raise

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            response = await self._begin_async(request)
            if response is None:
                response = await cast("Any", self.get_response)(request)
            return await self._respond_async(request, response)
        except BaseException:  # likewise, and where the client has gone, as Django cancels the view then
            if (left := _left(request)) is not None:
                await left.afinish(failed=True)
            raise

    def _open(self, request: HttpRequest) -> SessionStore:
        """The request's session, which is not looked up yet."""
        session = cast("SessionStore", self.SessionStore())
        session.begin(arrive_in(session.config, request))
        session.is_deferred = True
        request.session = session
        vars(request)[_OPENED] = session
        return session

    def process_request(self, request: HttpRequest) -> HttpResponseBase | None:  # type: ignore[override]
        """Give the request its session, which is loaded on first use."""
        session = self._open(request)
        config = session.config
        if not _is_due(session, lazy=config.is_lazy is not False):
            return None
        found = config.sync.look_up_or_note(session.state)
        session.note_looked_up()
        return None if found else unavailable(config, request)

    async def _begin_async(self, request: HttpRequest) -> HttpResponseBase | None:
        session = self._open(request)
        config = session.config
        if not _is_due(session, lazy=bool(config.is_lazy)):
            return None
        found = await config.asynchronous.look_up_or_note(session.state)
        session.note_looked_up()
        return None if found else unavailable(config, request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        """What a view raised: a store that is down is a 503; that the session has ended while it had to be saved, a 400."""
        if isinstance(exception, StoreError):
            return unavailable(current(), request)
        if isinstance(exception, UpdateError):
            raise SessionInterrupted(_LOST) from exception
        return None

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:  # type: ignore[override]
        """Commit the session, and tell the browser."""
        session = getattr(request, "session", None)
        if (left := _left(request, session)) is not None:
            left.finish(failed=True)
        if not isinstance(session, SessionStore):
            return super().process_response(request, cast("HttpResponse", response))
        closing, door = Closing(session, request, response), session.config.sync
        try:
            if closing.needs_look_up:
                mine = session.put_aside()
                door.look_up_or_note(session.state)
                session.put_back(mine)
            plan = closing.plan()
            if plan is not None and plan.needs_store:
                plan = door.respond(closing.exchange, plan, Phase.RESPONSE)
        except BaseException:
            closing.finish(failed=True)
            raise
        response = closing.tell(plan)
        if closing.is_streamed:
            closing.finish_after_body()
        else:
            closing.finish(failed=False)
        return response

    async def _respond_async(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        session = getattr(request, "session", None)
        if (left := _left(request, session)) is not None:
            await left.afinish(failed=True)
        if not isinstance(session, SessionStore):
            return await sync_to_async(super().process_response)(request, cast("HttpResponse", response))
        closing, door = Closing(session, request, response), session.config.asynchronous
        try:
            if closing.needs_look_up:
                mine = session.put_aside()
                await door.look_up_or_note(session.state)
                session.put_back(mine)
            plan = closing.plan()
            if plan is not None and plan.needs_store:
                plan = await door.respond(closing.exchange, plan, Phase.RESPONSE)
        except BaseException:
            await closing.afinish(failed=True)
            raise
        response = closing.tell(plan)
        if closing.is_streamed:
            closing.finish_after_body()
        else:
            await closing.afinish(failed=False)
        return response


def _left(request: HttpRequest, session: object = None) -> Closing | None:
    """The end of the session that the request began with, unless it is this one: what was to end ends, and an exclusive one is given back."""
    opened = vars(request).pop(_OPENED, session)
    return None if opened is session else Closing(opened, request)


def _is_due(session: SessionStore, *, lazy: bool) -> bool:
    """Whether a session is to be looked up before the view. One that comes by an old cookie always is: it has another key from then on."""
    if not session.is_pending():
        return False
    arrival = session.state.arrival
    source = arrival.source
    return not lazy or (source is not None and any(source.is_old(verified.id) for verified in arrival.ids))
