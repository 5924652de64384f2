"""A configuration of the door, and the streams that it waits for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import flask

from ..cookie import Cookie
from ..core.settings import ExpiryCache, SessionSettings
from ..middleware.base import Middleware
from ..options import OptionsDict
from ..wire.headers import TEXT, Header, with_session
from ..wsgi import Body, Environ, EnvironExchange, EnvironReader, StartResponse, WSGIApp, close, is_file

__all__ = ["OPENED", "Door", "FlaskExchange", "Lasting", "Streams"]

OPENED: Final = "sojourn.flask"
"""Where in the environ the interface tells which sessions it has opened."""
_MOST: Final = 64  # a function of the request may make a new cookie each time


class Lasting(Middleware):
    """One configuration: what the application's own says, and the options that take its place. In either colour."""

    def last(self, *, permanent: bool) -> None:
        """Say whether sessions are permanent that do not. Called once, when it is made."""
        self.permanent = permanent
        """Whether sessions are permanent that do not say."""
        self.settings.expiries = ExpiryCache()  # one for all that differ in the lifetime alone
        self._lasting: dict[tuple[Cookie, timedelta | None, bool], tuple[SessionSettings, Cookie]] = {}

    def lasting(self, cookie: Cookie, lifetime: timedelta | None, *, again: bool) -> tuple[SessionSettings, Cookie]:
        """The settings and the cookie of a session.

        Args:
            cookie: as configured for its request.
            lifetime: how long the browser keeps it; None for as configured.
            again: to send it although the browser has it.
        """
        again = again or self.options.rolling
        if lifetime is None and again is self.options.rolling:
            return self.settings, cookie
        key = cookie, lifetime, again
        known = self._lasting.get(key)
        if known is None:
            if len(self._lasting) >= _MOST:
                self._lasting.clear()
            known = self._lasting[key] = self._make(*key)
        return known

    def _make(self, cookie: Cookie, lifetime: timedelta | None, again: bool) -> tuple[SessionSettings, Cookie]:
        if lifetime is not None:
            limit = self.options.absolute_ms
            lifetime = lifetime if limit is None else min(lifetime, timedelta(milliseconds=limit))
            cookie = replace(cookie, max_age=lifetime, expires=None)
        options = replace(self.options, cookie=cookie, rolling=again)
        settings = SessionSettings(options, default_idle_ms=self.settings.default_idle_ms)
        settings.expiries = self.settings.expiries
        return settings, cookie


class Door(Lasting, EnvironReader):
    """The same for Flask."""

    def __init__(self, options: OptionsDict, *, permanent: bool) -> None:
        super().__init__(options)
        self.last(permanent=permanent)


class FlaskExchange(EnvironExchange[Door]):
    """One request of a Flask application and its response.

    That is never changed: an application may keep a response, and send it to others.
    """

    is_served: bool = False
    """`Streams` waits for it. In a test's context there is nothing to wait for, and nobody to send an error's page to."""
    is_streamed: bool = False
    """The application's code runs on while the body is sent."""
    header: Header | None = None
    """What is sent with the response's headers."""
    clears: str | None = None
    vary: tuple[str, ...] = ()
    """The request headers that the response depends on."""
    instead: flask.Response | None = None
    """What is sent in the response's place."""

    def headers(self, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """A response's headers, and what the session adds."""
        return with_session(headers, TEXT, session_header=self.header, vary=self.vary, clears=self.clears)

    def end(self, *, failed: bool) -> None:
        """After the application is done."""
        super().end(failed=failed)
        vars(self.session).pop("exchange", None)  # each would hold the other until the garbage collector comes


class Streams:
    """Around ``Flask.wsgi_app``: sends what the interface has decided, and waits for bodies that are made while they are sent.

    Nothing is decided here, so that it does not matter which other middleware is outside or inside.
    """

    def __init__(self, app: WSGIApp) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        opened: list[FlaskExchange] = []
        environ[OPENED] = opened  # the list reaches the application, though the environ may be copied on the way

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
            for exchange in opened:
                headers = exchange.headers(headers)
            return start_response(status, headers, *exc_info)

        def start_unless_instead(
            status: str, headers: list[tuple[str, str]], *exc_info: Any
        ) -> Callable[[bytes], object]:
            if any(exchange.instead is not None for exchange in opened):
                return _swallow
            return start(status, headers, *exc_info)

        try:
            body = self._app(environ, start_unless_instead)
            for exchange in opened:
                if exchange.instead is not None:
                    close(body)
                    body = exchange.instead(environ, start)
        except BaseException:
            for exchange in opened:
                exchange.end(failed=True)
            raise
        for exchange in opened:
            if exchange.is_streamed and not is_file(body, environ):
                body = Body(exchange, body)
            else:
                exchange.end(failed=False)
        return body


def _swallow(_data: bytes) -> None:
    """What becomes of a response that is not sent."""
