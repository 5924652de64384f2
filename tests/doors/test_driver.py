"""The driver for frameworks that we do not know, in both colours and without any framework."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from typing import Any

import pytest

from sojourn import Cookie, SessionEncodeError, StoreUnavailable, logs
from sojourn.driver import AsyncSessionDriver, ErrorResponse, SessionDriver
from sojourn.stores import AsyncMemoryStore, MemoryStore
from sojourn.transports import FormTransport, HeaderTransport, QueryTransport

SECRET = "a secret of more than thirty-two bytes for testing"


class Marker(enum.Enum):
    EMPTY = 0


class Site:
    """A driver of either colour, called alike."""

    def __init__(self, colour: str, **options: Any) -> None:
        self.down: set[str] = set()
        kept = MemoryStore()

        def fail(name: str) -> Any:
            if name in self.down:
                raise StoreUnavailable("down")
            return getattr(kept, name)

        class Shaky(MemoryStore):
            def __getattribute__(self, name: str) -> Any:
                return fail(name) if name in ("load", "create", "replace", "delete") else super().__getattribute__(name)

        self.kept = kept
        self.colour = colour
        if colour == "sync":
            self.driver: Any = SessionDriver(**{"secret": SECRET, "store": Shaky(), **options})
        else:
            store = AsyncMemoryStore()
            store._store = Shaky()
            self.driver = AsyncSessionDriver(**{"secret": SECRET, "store": store, **options})

    def call(self, returned: Any) -> Any:
        return returned if self.colour == "sync" else asyncio.run(_wait(returned))

    def visit(
        self,
        handler: Callable[[Any], object],
        cookie: str | None = None,
        *,
        late: Callable[[Any], object] = lambda session: None,
        headers: list[tuple[str, str]] | None = None,
        **more: Any,
    ) -> Any:
        """One request; returns what `respond` did."""
        brought = [("Cookie", cookie)] if cookie else []
        exchange = self.call(self.driver.begin([*brought, *(headers or [])], **more))
        if exchange is None or exchange.error is not None:
            if exchange is not None:
                self.call(exchange.finish())
            return exchange and exchange.error
        try:
            handler(exchange.session)
        except ZeroDivisionError:
            self.call(exchange.finish(failed=True))
            return None
        answer = self.call(exchange.respond([("X-Own", "1")]))
        late(exchange.session)
        self.call(exchange.finish())
        return answer


async def _wait(coroutine: Any) -> Any:
    return await coroutine


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Callable[..., Site]:
    return lambda **options: Site(request.param, **options)


def put(**values: Any) -> Callable[[Any], None]:
    return lambda session: session.update(values)


def cookie_of(answer: Any) -> str:
    (value,) = [value for name, value in answer if name == "Set-Cookie"]
    return str(value).split(";")[0]


def read(site: Site, cookie: str | None, **more: Any) -> dict[str, Any]:
    seen: list[dict[str, Any]] = []
    site.visit(lambda session: seen.append(dict(session)), cookie, **more)
    return seen[0]


# others contract 17
def test_a_session_begins_is_read_and_ends(make):
    site = make()
    answer = site.visit(put(n=1))
    assert answer[0] == ("X-Own", "1")
    assert {name for name, _ in answer} == {"X-Own", "Vary", "Cache-Control", "Set-Cookie"}
    cookie = cookie_of(answer)
    assert read(site, cookie) == {"n": 1}
    ended = site.visit(lambda session: session.logout(), cookie)
    assert cookie_of(ended) == "sid="
    assert read(site, cookie) == {} and site.kept.count() == 0


@pytest.mark.parametrize("act", [put(n=2), lambda session: session.logout()])
def test_an_exchange_that_became_a_503_stays_one(make, act):
    site = make()
    cookie = cookie_of(site.visit(put(n=1)))
    exchange = site.call(site.driver.begin([("Cookie", cookie)]))
    act(exchange.session)
    site.down = {"replace", "delete"}
    first = site.call(exchange.respond())
    site.down.clear()
    again = site.call(exchange.respond(first.headers))  # as for an error page, which this is not
    assert isinstance(again, ErrorResponse) and again == first
    site.call(exchange.finish())
    assert read(site, cookie) == {"n": 1}


def test_what_comes_late_is_saved_when_the_exchange_is_finished(make):
    site = make()
    cookie = cookie_of(site.visit(put(n=1)))
    site.visit(lambda session: session.get("n"), cookie, late=put(n=2))
    assert read(site, cookie) == {"n": 2}


def test_a_handler_that_raises_saves_nothing_and_its_logout_is_carried_out(make):
    site = make()
    cookie = cookie_of(site.visit(put(n=1)))
    assert site.visit(lambda session: (session.update(n=2), 1 / 0), cookie) is None
    assert read(site, cookie) == {"n": 1}
    site.visit(lambda session: (session.logout(), 1 / 0), cookie)
    assert read(site, cookie) == {}


def test_a_store_that_is_down_is_an_error_response_before_the_handler_and_after_it(make):
    site = make(store_error_page="<p>later")
    cookie = cookie_of(site.visit(put(n=1)))
    site.down = {"load"}
    answer = site.visit(lambda session: pytest.fail("the handler ran"), cookie)
    assert isinstance(answer, ErrorResponse) and answer.status == 503 and answer.body == b"<p>later"
    site.down = {"replace"}
    assert isinstance(site.visit(put(n=2), cookie), ErrorResponse)
    site.down = set()
    assert read(site, cookie) == {"n": 1}


def test_the_page_is_made_of_what_the_driver_was_given_as_the_request(make):
    site = make(store_error_page=lambda request: f"<p>{request}")
    cookie = cookie_of(site.visit(put(n=1)))
    for operation in ("load", "replace"):
        site.down = {operation}
        assert site.visit(put(n=7), cookie, request="the request").body == b"<p>the request"


def test_a_value_that_cannot_be_stored_is_an_error_and_the_error_page_can_be_sent(make):
    site = make()
    exchange = site.call(site.driver.begin([]))
    exchange.session["x"] = object()
    with pytest.raises(SessionEncodeError):
        site.call(exchange.respond())
    assert site.call(exchange.respond([("X-Own", "1")])) == [("X-Own", "1"), ("Vary", "Cookie")]
    site.call(exchange.finish())
    assert site.kept.count() == 0


def test_no_session_where_the_cookie_does_not_go(make):
    site = make(cookie=Cookie(path="/app"), exclude=("/app/static",))
    assert site.call(site.driver.begin([], path="/other")) is None
    assert site.call(site.driver.begin([], path="/app/static/x")) is None
    assert site.call(site.driver.begin([], path="/app/x")) is not None


@pytest.mark.parametrize(("value", "ends"), [(None, True), (Marker.EMPTY, True), ({"another": "layer's"}, False)])
def test_what_is_put_in_the_sessions_place_unsets_it_or_is_another_layers(make, value, ends):
    site = make()
    cookie = cookie_of(site.visit(put(n=1)))
    exchange = site.call(site.driver.begin([("cookie", cookie)]))
    exchange.put(value)
    site.call(exchange.respond())
    site.call(exchange.finish())
    assert read(site, cookie) == ({} if ends else {"n": 1})


@pytest.mark.parametrize(
    ("given", "headers", "secure"),
    [
        ({"https": True}, [], True),
        ({}, [], False),
        ({}, [("X-Forwarded-Proto", "https")], True),
        ({"direct_tls": True}, [], True),
    ],
)
def test_the_connection_is_what_the_framework_and_the_proxy_say(make, given, headers, secure):
    answer = make(trust_proxy=True).visit(put(n=1), headers=headers, **given)
    assert cookie_of(answer).startswith("__Host-sid=" if secure else "sid=")


def test_ids_come_by_the_transports_that_are_configured(make):
    site = make(transports=[HeaderTransport(), QueryTransport(), FormTransport()])
    (token,) = [value for name, value in site.visit(put(n=1)) if name == "X-Session-Id"]
    form = {"headers": [("Content-Type", "application/x-www-form-urlencoded")], "body": f"sid={token}".encode()}
    for more in ({"headers": [("x-session-id", token)]}, {"query": f"sid={token}"}, form):
        assert read(site, None, **more) == {"n": 1}


def test_options_that_are_functions_get_the_request(make):
    asked: list[Any] = []

    def generate(request: Any) -> str:
        asked.append(request)
        return "an-id-of-the-apps-own"

    site = make(generate_id=generate)
    site.visit(put(n=1), request="the request")
    assert asked == ["the request"]


@pytest.mark.parametrize(("host", "is_told"), [("localhost:8000", True), ("www.example.com", False)])
def test_a_cookie_domain_that_is_not_the_hosts_is_told_once(make, host, is_told, caplog, monkeypatch):
    monkeypatch.setattr(logs, "_said", set())
    site = make(cookie=Cookie(domain="example.com"))
    for _ in range(2):
        assert "Domain=example.com" in dict(site.visit(put(n=1), headers=[("Host", host)]))["Set-Cookie"]
    assert len(caplog.records) == is_told


def test_lazy_loads_when_asked(make):
    site = make(lazy=True)
    cookie = cookie_of(site.visit(put(n=1)))
    exchange = site.call(site.driver.begin([("Cookie", cookie)]))
    if site.colour == "async":
        site.call(exchange.session.load())
    assert exchange.session["n"] == 1


def test_the_store_is_opened_and_closed(make):
    site = make()
    site.call(site.driver.open())
    site.call(site.driver.close())
