"""One request of Django's and its response: what is committed, and what the browser is told."""

from __future__ import annotations

import sys
from asyncio import CancelledError
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from http.cookies import Morsel
from typing import Any, Final

from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from msgspec.structs import replace

from ..core.ended import end
from ..core.plan import Phase, Plan
from ..core.state import Arrival, Event, Found, State
from ..middleware.exchange import Exchange
from ..wire.headers import TEXT, with_session
from ..wire.paths import encoded
from ..wire.request import RequestParts
from ..wire.signing import Verified
from .config import Configuration
from .engine import SessionStore

__all__ = ["Closing", "arrive", "arrive_in", "unavailable"]

_SLOT: Final = "session"
_HOSTS: Final = ("HTTP_HOST", "HTTP_X_FORWARDED_HOST")
_NOTHING: Final = Plan()
_ERROR: Final = 500


def arrive(
    config: Configuration,
    parts: RequestParts,
    path: str,
    *,
    https: bool,
    plain: Callable[[str], str | None],
    body: bytes = b"",
    request: Any = None,
) -> State:
    """What a request brings. Where it has no session, as its path is excluded, nothing of its session is saved.

    Args:
        config: the configuration in force.
        parts: where it may carry ids.
        path: as the browser sees it.
        https: whether the browser's connection is.
        plain: the value of the cookie of a name, as Django reads it.
        body: its beginning, where that may be a form with an id.
        request: what functions of the request are given.
    """
    reader, cookie = config.sync.reader, config.cookie
    secure = https or cookie.secure is True  # a proxy that Django is not told of may end TLS
    if reader.is_excluded(path):
        state = State(config.settings, Arrival(cookie, secure), config.sync)
        state.on(Event.DISCARD)
        return state
    ids: list[Verified]
    ids, source = reader.read_all(parts, cookie, body, secure=secure)
    if not ids and _is_tested() and (key := plain(config.settings.options.name)):
        ids = [Verified(key, needs_resigning=False)]
    options = config.settings.options
    asks = options.exclusive, options.fresh, options.describe
    kept = None if asks == (None, None, None) else request
    arrival = config.sync.arrivals.of(cookie, ids, secure=secure, source=source, request=kept)
    return State(config.settings, arrival, config.sync, Found.PENDING if ids else Found.NOTHING)


def arrive_in(config: Configuration, request: HttpRequest) -> State:
    """What a request of Django's brings."""

    def header(name: str) -> list[bytes]:
        value = request.headers.get(name)
        return [] if value is None else [value.encode("latin-1", "replace")]

    parts = RequestParts(header, request.META.get("QUERY_STRING", "").encode("latin-1", "replace"))
    is_form = request.method == "POST" and not config.sync.reader.by_cookie
    body = request.body if is_form else b""
    path = encoded(request.path.encode("utf-8", "surrogatepass"))
    https = request.is_secure()
    return arrive(config, parts, path, https=https, plain=request.COOKIES.get, body=body, request=request)


def _is_tested() -> bool:
    """Whether Django runs tests: its test client writes session keys into the cookie as they are."""
    utils = sys.modules.get("django.test.utils")
    return utils is not None and hasattr(utils._TestState, "saved_data")  # noqa: SLF001 - what Django itself asks


def unavailable(config: Configuration, request: HttpRequest) -> HttpResponse:
    """The 503 that is sent where the store fails."""
    status, headers, body = config.sync.unavailable(request)
    return HttpResponse(body, status=status, headers=dict(headers))


class Closing:
    """The end of a request: its session's commit, and what the response tells the browser."""

    def __init__(self, store: SessionStore, request: HttpRequest, response: HttpResponseBase | None = None) -> None:
        if store.has_failed and response is not None and response.status_code == _ERROR:
            response.close()  # Django's, where a middleware within has raised, whose errors `process_exception` does not get
            response = unavailable(store.config, request)
        self.store: SessionStore = store
        self.request: HttpRequest = request
        self.response: Any = response
        self._is_finished = False
        if not store.is_deferred and request.is_secure():  # the view made it itself, which knows no request
            store.state.arrival = replace(store.state.arrival, secure=True)
        hosts = [request.META[name] for name in _HOSTS if request.META.get(name)]
        slot = {_SLOT: store.face, "hosts": hosts}
        self.exchange: Exchange[Any] = Exchange(store.config.sync, store.state, store.face, slot, _SLOT)
        self._accessed = store.accessed

    @property
    def needs_look_up(self) -> bool:
        """Whether the session has to be looked up before it is committed."""
        return self.store.is_wanted and self.store.is_pending()

    def plan(self) -> Plan | None:
        """What to do with the session; None where the store failed, and the response is to be a 503."""
        if not self.store.settle(status=self.response.status_code):
            return _NOTHING
        return self.exchange.prepare(Phase.RESPONSE)

    def tell(self, plan: Plan | None) -> HttpResponseBase:
        """The response to send: the application's with what the session adds, or our 503."""
        exchange, response = self.exchange, self.response
        exchange.state.sent = True
        if plan is None:
            exchange.refused = True
            response.close()
            response = self.response = unavailable(self.store.config, self.request)
        else:
            if plan.header is not None:
                exchange.check_domain(plan.header)
            vary = exchange.middleware.reader.vary if self._accessed or plan.header is not None else ()
            for name, value in with_session(
                response.items(), TEXT, session_header=plan.header, vary=vary, clears=plan.clears
            ):
                if name == "Set-Cookie":
                    cookie = SentCookie(value)
                    response.cookies[cookie.key] = cookie
                else:
                    response[name] = value
        made: HttpResponseBase = response
        return made

    @property
    def is_streamed(self) -> bool:
        """Whether code of the application's runs while the body is sent."""
        return self.response.streaming and not isinstance(self.response, FileResponse)

    def finish(self, *, failed: bool) -> None:
        """Do what is left when the response is out."""
        if not self._is_done(failed=failed):
            self.store.config.sync.finish(self.exchange, failed=failed)

    async def afinish(self, *, failed: bool) -> None:
        if not self._is_done(failed=failed):
            await self.store.config.asynchronous.finish(self.exchange, failed=failed)

    def _is_done(self, *, failed: bool) -> bool:
        self.store.is_deferred, self._is_finished = False, True
        if failed or not self.exchange.is_idle:
            return False
        end(self.exchange.session)
        return True

    def finish_after_body(self) -> None:
        """Have it done at the end of the body."""
        parts = self.response.streaming_content
        self.response.streaming_content = (
            self._streamed_async(parts) if self.response.is_async else self._streamed(parts)
        )
        self.response._resource_closers.append(self._close)  # noqa: SLF001 - Django asks iterators alone, and not those of async bodies

    def _close(self) -> None:
        """The response is closed, perhaps before its body was begun: it answers HEAD, or the client has gone."""
        if not self._is_finished:
            self.finish(failed=False)

    def _streamed(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        failed = True
        try:
            yield from parts
            failed = False
        except GeneratorExit:  # the client has gone
            failed = False
            raise
        finally:
            self.finish(failed=failed)

    async def _streamed_async(self, parts: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        failed = True
        try:
            async for part in parts:
                yield part
            failed = False
        except (GeneratorExit, CancelledError):  # likewise
            failed = False
            raise
        finally:
            await self.afinish(failed=failed)


class SentCookie(Morsel[str]):
    """A cookie as it was decided, among those of a response, which have not all attributes before Python 3.14."""

    def __init__(self, header: str) -> None:
        super().__init__()
        pair, *attributes = header.split("; ")
        name, _, value = pair.partition("=")
        self.set(name, value, value)
        for attribute in attributes:
            key, _, given = attribute.partition("=")
            if key.lower() in self._reserved:  # type: ignore[attr-defined]
                self[key] = given or True  # as Django sets flags
        self.header = header

    def __reduce__(self) -> tuple[type[SentCookie], tuple[str]]:
        return type(self), (self.header,)  # caches of responses pickle them

    def OutputString(self, attrs: Any = None) -> str:  # noqa: N802 - the standard library's
        """The header's value."""
        return self.header if attrs is None else super().OutputString(attrs)
