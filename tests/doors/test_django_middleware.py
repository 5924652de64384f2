"""Our middleware for Django: what is committed with a response, and what the browser is told."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any, cast

import pytest
from asgiref.sync import async_to_sync
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.backends.signed_cookies import SessionStore as OtherStore
from django.contrib.sessions.exceptions import SessionInterrupted
from django.contrib.sessions.middleware import SessionMiddleware as Theirs
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import RequestFactory, override_settings

from sojourn import Cookie, StoreUnavailable, logs
from sojourn.django import SessionMiddleware, SessionStore, session_of
from sojourn.errors import ConfigurationError, HeadersAlreadySent
from sojourn.stores import MemoryStore
from sojourn.testing.clock import ManualClock
from sojourn.transports import CookieTransport, FormTransport, HeaderTransport, QueryTransport
from tests.doors.django_clients import KINDS, Visitor, made

DAY = 86_400_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(autouse=True)
def store(clock: ManualClock) -> Iterator[MemoryStore]:
    store = MemoryStore(clock=clock)
    with override_settings(SOJOURN={"store": store, "clock": clock}):
        yield store


@pytest.fixture(params=KINDS)
def visitor(request: pytest.FixtureRequest) -> Visitor:
    return Visitor(request.param)


def handle(view: Any, request: HttpRequest | None = None, kind: Any = SessionMiddleware) -> Any:
    """A request through the middleware alone."""
    return kind(view)(RequestFactory().get("/") if request is None else request)


def note_looks(store: MemoryStore, looked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    load = store.load

    def note(key: str) -> Any:
        looked.append(key)
        return load(key)

    monkeypatch.setattr(store, "load", note)


# django contract 47
def test_the_session_is_looked_up_on_first_use_or_before_the_view_on_an_event_loop(
    store: MemoryStore, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    visitor.get("/put?a=1")
    note_looks(store, looked, monkeypatch)
    assert visitor.get("/plain").body == b"plain" and len(looked) == (visitor.kind == "asgi")
    assert visitor.data == {"a": 1} and len(looked) == 1 + (visitor.kind == "asgi")


# django contract 47
@pytest.mark.parametrize(("lazy", "loads"), [(True, 0), (False, 1)])
def test_lazy_says_when_it_is_looked_up(
    lazy: bool, loads: int, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    with override_settings(SOJOURN={"store": store, "lazy": lazy}):
        looked: list[str] = []
        visitor.get("/put?a=1")
        note_looks(store, looked, monkeypatch)
        assert visitor.get("/plain").body == b"plain" and len(looked) == loads


# django contract 47
def test_every_cookie_of_the_name_is_tried(visitor: Visitor) -> None:
    visitor.get("/put?a=1")
    cookies = f"sessionid=junk; sessionid={visitor.cookie}; sessionid=x.y"
    assert Visitor(visitor.kind).get("/", headers={"cookie": cookies}).json() == {"a": 1}


# django contract 48, 51
def test_a_new_session_is_stored_and_its_cookie_is_signed(store: MemoryStore, visitor: Visitor) -> None:
    response = visitor.get("/put?a=1")
    value, *attributes = made(response).split("; ")
    assert attributes[:1] == ["Path=/"] and attributes[1].startswith("Expires=")
    assert attributes[2:] == ["Max-Age=1209600", "HttpOnly", "SameSite=Lax"]
    key, _, signature = value.removeprefix("sessionid=").partition(".")
    assert (len(key), len(signature)) == (40, 43) and store.count() == 1
    assert response.headers["Vary"] == "Cookie"
    assert visitor.data == {"a": 1}
    forged = Visitor(visitor.kind)
    for value in (key, f"{key}.{signature[::-1]}"):
        forged.cookie = value
        assert forged.data == {}


# django contract 48
def test_what_was_not_looked_at_varies_with_nothing(visitor: Visitor) -> None:
    for _ in range(2):
        response = visitor.get("/plain")
        assert "Vary" not in response.headers and made(response) == ""
        visitor.get("/put?a=1")
    assert visitor.get("/").headers["Vary"] == "Cookie" and made(visitor.get("/")) == ""


# django contract 48, 53
def test_flush_expires_the_cookie_and_what_is_put_in_then_gets_a_new_key(store: MemoryStore, visitor: Visitor) -> None:
    visitor.get("/put?a=1")
    before = visitor.cookie
    response = visitor.get("/flush")
    assert (
        made(response) == "sessionid=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; HttpOnly; SameSite=Lax"
    )
    assert response.headers["Vary"] == "Cookie" and store.count() == 0
    visitor.get("/put?a=1")
    visitor.get("/flush?b=2")
    assert visitor.cookie not in (None, before) and visitor.data == {"b": 2} and store.count() == 1


# django contract 53
def test_an_expired_cookie_is_secure_where_it_was(visitor: Visitor) -> None:
    with override_settings(SESSION_COOKIE_SECURE=True, SESSION_COOKIE_NAME="__Host-sessionid"):
        assert made(visitor.get("/put?a=1")).startswith("__Host-sessionid=") and visitor.data == {"a": 1}
        assert "; Secure" in made(visitor.get("/flush"))


# django contract 49
def test_a_cookie_of_no_session_is_left_alone(visitor: Visitor, store: MemoryStore) -> None:
    visitor.get("/put?a=1")
    store.clear()
    kept = visitor.cookie
    response = visitor.get("/")
    assert response.json() == {} and made(response) == "" and visitor.cookie == kept


# django contract 50
def test_a_new_session_that_is_flushed_sets_no_cookie(visitor: Visitor) -> None:
    response = visitor.get("/flush")
    assert made(response) == "" and response.headers["Vary"] == "Cookie"


# django contract 51
@pytest.mark.parametrize(
    ("setting", "value", "shown"),
    [
        ("SESSION_COOKIE_NAME", "sid", "sid="),
        ("SESSION_COOKIE_AGE", 60, "Max-Age=60;"),
        ("SESSION_COOKIE_PATH", "/put", "Path=/put;"),
        ("SESSION_COOKIE_DOMAIN", "testserver.example", "Domain=testserver.example;"),
        ("SESSION_COOKIE_SECURE", True, "Secure;"),
        ("SESSION_COOKIE_SAMESITE", "Strict", "SameSite=Strict"),
    ],
)
def test_the_settings_of_the_cookie_take_effect(setting: str, value: Any, shown: str, visitor: Visitor) -> None:
    with override_settings(**{setting: value}):
        response = visitor.get("/put?a=1")
        assert shown in (made(response) or str(response.cookies))


# django contract 51
@pytest.mark.parametrize(
    ("setting", "value", "hidden"),
    [
        ("SESSION_COOKIE_HTTPONLY", False, "HttpOnly"),
        ("SESSION_COOKIE_SAMESITE", False, "SameSite"),
        ("SESSION_COOKIE_SAMESITE", None, "SameSite"),
        ("SESSION_EXPIRE_AT_BROWSER_CLOSE", True, "Max-Age"),
    ],
)
def test_the_settings_of_the_cookie_leave_out(setting: str, value: Any, hidden: str, visitor: Visitor) -> None:
    with override_settings(**{setting: value}):
        assert hidden not in made(visitor.get("/put?a=1"))


# django contract 51, 52
def test_over_https_the_cookie_is_secure_without_being_told(visitor: Visitor) -> None:
    assert "; Secure" in made(visitor.get("/put?a=1", secure=True))
    with override_settings(SESSION_COOKIE_SAMESITE="None"):
        assert "SameSite=None" in made(Visitor(visitor.kind).get("/put?a=1", secure=True))
        assert "SameSite=Lax" in made(Visitor(visitor.kind).get("/put?a=1"))


# django contract 51
def test_a_cookie_may_be_partitioned_and_have_a_priority(visitor: Visitor, store: MemoryStore) -> None:
    cookie = Cookie(secure=True, samesite="none", partitioned=True, priority="high", max_age=60)
    with override_settings(SOJOURN={"store": store, "cookie": cookie}):
        response = visitor.get("/put?a=1", secure=True)
        assert made(response).endswith("; Secure; SameSite=None; Partitioned; Priority=High") or (
            "Partitioned" in made(response) and "Priority=High" in made(response)
        )
        again = pickle.loads(pickle.dumps(response.cookies["sessionid"]))
        assert again.OutputString() == made(response) and again.value == visitor.cookie
        assert again.OutputString(["path"]).endswith("; Path=/")


# django contract 54
def test_a_response_with_a_cookie_is_not_stored_by_caches(visitor: Visitor) -> None:
    assert visitor.get("/put?a=1").headers["Cache-Control"] == "no-store"
    assert "Cache-Control" not in visitor.get("/").headers


# django contract 55
def test_a_server_error_stores_nothing_and_sends_no_cookie(store: MemoryStore, visitor: Visitor) -> None:
    for path in ("/wrong", "/put?a=1&status=503"):
        response = visitor.get(path)
        assert response.status_code >= 500 and made(response) == "" and store.count() == 0
    visitor.get("/put?a=1")
    visitor.get("/wrong")
    assert visitor.data == {"a": 1}


# django contract 55
def test_a_key_that_changes_in_a_response_that_fails_stays(visitor: Visitor, store: MemoryStore) -> None:
    visitor.get("/put?a=1")
    assert made(visitor.get("/cycle?status=500")) == "" and visitor.data == {"a": 1}
    before = visitor.cookie
    assert made(visitor.get("/cycle")) != "" and visitor.cookie != before and visitor.data == {"a": 1}
    assert store.count() == 1


# django contract 55
def test_a_logout_happens_though_the_response_fails(visitor: Visitor, store: MemoryStore) -> None:
    visitor.get("/put?a=1")
    assert "Max-Age=0" in made(visitor.get("/flush?status=500")) and store.count() == 0


# django contract 56
def test_a_response_after_a_lost_session_is_kept_and_the_write_dropped(
    store: MemoryStore, visitor: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    visitor.get("/put?a=1")
    response = visitor.get("/lose?b=2")
    assert (response.status_code, response.body, made(response)) == (200, b"done", "") and store.count() == 0
    assert "ended while a request was changing it" in caplog.text


# django contract 56
def test_only_a_writer_that_must_not_lose_its_write_gets_a_400(visitor: Visitor, store: MemoryStore) -> None:
    visitor.get("/put?a=1")
    assert visitor.get("/lose?b=2&save=1").status_code == 400 and store.count() == 0

    def view(_request: HttpRequest) -> HttpResponse:
        raise UpdateError

    with pytest.raises(SessionInterrupted):
        SessionMiddleware(view).process_exception(RequestFactory().get("/"), UpdateError())


# django contract 57
@pytest.mark.parametrize("path", ["/stream", "/astream"])
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_what_is_changed_while_a_body_is_streamed_is_saved(path: str, visitor: Visitor) -> None:
    visitor.get("/put?n=0")
    assert visitor.get(path).body == b"1 2 3 " and visitor.data == {"n": 3}
    assert visitor.get(f"{path}?fail=1").body is None
    assert visitor.data == {"n": 3}


# django contract 57
@pytest.mark.parametrize("path", ["/stream", "/astream"])
def test_a_client_that_goes_away_loses_nothing(path: str) -> None:
    visitor = Visitor("wsgi")
    visitor.get("/put?n=0")
    response = visitor.client.get(path)
    if response.is_async:

        async def begin() -> None:
            parts = aiter(response.streaming_content)
            await anext(parts)
            await parts.aclose()
            await response._iterator.aclose()

        async_to_sync(begin)()
    else:
        next(response.streaming_content)
        response.close()
    assert visitor.data == {"n": 1}


# django contract 57
def test_a_file_is_sent_as_it_is_and_saved_before(visitor: Visitor) -> None:
    response = visitor.get("/file")
    assert b"A Django site" in response.body and visitor.data == {"n": 1}


# django contract 57
@pytest.mark.parametrize("method", ["cycle_key", "create", "save"])
def test_no_new_key_can_begin_in_a_stream(method: str, store: MemoryStore) -> None:
    raised = []

    def view(request: HttpRequest) -> StreamingHttpResponse:
        def body() -> Iterator[str]:
            try:
                getattr(request.session, method)()
            except HeadersAlreadySent as error:
                raised.append(str(error))
            yield "x"

        return StreamingHttpResponse(body())

    assert b"".join(handle(view).streaming_content) == b"x"
    assert len(raised) == 1 and "no cookie can carry another session key" in raised[0] and store.count() == 0


# django contract 58
@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_is_put_in_the_sessions_place(asynchronous: bool, store: MemoryStore) -> None:
    def through(put: Any) -> Any:
        def view(request: HttpRequest) -> HttpResponse:
            put(request)
            return HttpResponse("x")

        async def aview(request: HttpRequest) -> HttpResponse:
            return view(request)

        if not asynchronous:
            return handle(view)
        return async_to_sync(cast("Any", SessionMiddleware(aview)))(RequestFactory().get("/"))

    for nothing in (lambda request: setattr(request, "session", None), lambda request: delattr(request, "session")):
        assert made(through(nothing)) == ""
    other = OtherStore()
    other["a"] = 1
    assert made(through(lambda request: setattr(request, "session", other))).startswith("sessionid=")
    ours = SessionStore()
    ours["a"] = 1
    assert ours.session_key is None
    sent = made(through(lambda request: setattr(request, "session", ours)))
    assert sent.startswith(f"sessionid={ours.signed_key}") and store.count() == 1


# django contract 59, 60
def test_on_an_event_loop_the_session_is_used_without_waiting(store: MemoryStore) -> None:
    visitor = Visitor("asgi")
    visitor.get("/aput?a=1")
    visitor.get("/aput?b=2")
    assert visitor.data == {"a": 1, "b": 2}
    assert visitor.get("/acount").body == b"1" and visitor.get("/acount").body == b"2"


# django contract 59, 60
def test_a_store_that_waits_is_asked_on_the_event_loop() -> None:
    import threading

    threads: list[tuple[str, str]] = []

    class Waiting:
        """A store of one's own, whose async twin is `InThreads`: no call of it is the event loop's."""

        def __init__(self) -> None:
            self.store = MemoryStore()

        def __getattr__(self, name: str) -> Any:
            method = getattr(self.store, name)

            def call(*args: Any, **kwargs: Any) -> Any:
                threads.append((name, threading.current_thread().name))
                return method(*args, **kwargs)

            return call

    with override_settings(SOJOURN={"store": Waiting()}):
        visitor = Visitor("asgi")
        visitor.get("/aput?a=1")
        assert visitor.get("/acount").body == b"1"
        names = [name for name, _ in threads]
        assert names == ["create", "load", "replace"]


# django contract 61
def test_it_is_djangos_middleware_to_all_who_ask() -> None:
    assert issubclass(SessionMiddleware, Theirs)
    with (
        pytest.raises(ConfigurationError, match="SESSION_ENGINE"),
        override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"),
    ):
        SessionMiddleware(lambda _request: HttpResponse())
    request = RequestFactory().get("/")
    with pytest.raises(RuntimeError, match="no session of Sojourn"):
        session_of(request)


# django contract 61
def test_it_may_be_driven_by_its_two_halves() -> None:
    middleware = SessionMiddleware(lambda _request: HttpResponse())
    request = RequestFactory().get("/")
    assert middleware.process_request(request) is None
    request.session["a"] = 1
    assert made(middleware.process_response(request, HttpResponse())).startswith("sessionid=")  # type: ignore[arg-type]


# django contract 40, 45
def test_the_age_counts_from_the_last_change(visitor: Visitor, clock: ManualClock, store: MemoryStore) -> None:
    visitor.get("/put?a=1")
    clock.advance(10 * DAY)
    assert made(visitor.get("/")) == ""
    clock.advance(5 * DAY)
    assert store.count() == 0
    visitor.get("/put?a=1")
    clock.advance(10 * DAY)
    assert "Max-Age=1209600" in made(visitor.get("/put?a=1"))
    clock.advance(10 * DAY)
    assert visitor.data == {"a": 1}


# django contract 45
def test_saved_at_every_request_it_lives_on_by_being_visited(
    visitor: Visitor, clock: ManualClock, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        assert made(visitor.get("/plain")) == ""
        visitor.get("/put?a=1")
        for path in ("/", "/plain"):
            clock.advance(10 * DAY)
            assert "Max-Age=1209600" in made(visitor.get(path))
        clock.advance(60_000)
        monkeypatch.setattr(store, "touch", None)
        monkeypatch.setattr(store, "replace", None)
        assert made(visitor.get("/plain")) != "", "and is written only when a twentieth of its time is used"


# django contract 45
def test_an_idle_timeout_slides_without_a_cookie(visitor: Visitor, clock: ManualClock, store: MemoryStore) -> None:
    with override_settings(SOJOURN={"store": store, "clock": clock, "idle_timeout": timedelta(hours=1)}):
        visitor.get("/put?a=1")
        for _ in range(3):
            clock.advance(45 * 60_000)
            assert made(visitor.get("/plain")) == ""
        assert visitor.data == {"a": 1}
        clock.advance(61 * 60_000)
        assert visitor.data == {}


# django contract 40, 41, 44
def test_an_expiry_of_its_own_goes_out_with_the_cookie(visitor: Visitor) -> None:
    assert "Max-Age=100;" in made(visitor.get("/put?_session_expiry=100"))
    assert "Max-Age" not in made(visitor.get("/put?_session_expiry=0"))
    assert "Max-Age=1209600" in made(visitor.get("/put?_session_expiry=null"))
    assert "Max-Age=0" in made(visitor.get("/put?_session_expiry=-1"))
    assert visitor.data == {}


# django contract 14
def test_what_was_not_to_count_is_not_saved(visitor: Visitor) -> None:
    visitor.get("/put?a=1")
    visitor.get("/put?a=2&forget=1")
    assert visitor.data == {"a": 1}


# django contract 15
def test_a_change_within_a_value_is_saved(visitor: Visitor) -> None:
    visitor.get("/put?cart={}")
    visitor.get("/within")
    visitor.get("/within")
    assert visitor.data == {"cart": {"tents": 2}}


# django contract 12
@pytest.mark.parametrize("lazy", [True, False])
def test_a_session_is_emptied_and_kept(lazy: bool, visitor: Visitor, store: MemoryStore) -> None:
    with override_settings(SOJOURN={"store": store, "lazy": lazy}):
        visitor.get("/put?a=1")
        kept = visitor.cookie
        for path in ("/clear", "/clear?b=2"):
            visitor.get(path)
            assert str(visitor.cookie) == str(kept) and store.count() == 1
        assert visitor.data == {"b": 2}


# django contract 29, 30
def test_an_explicit_create_or_save_is_carried_out_at_once(visitor: Visitor, store: MemoryStore) -> None:
    for path in ("/create", "/save"):
        fresh = Visitor(visitor.kind)
        response = fresh.get(path)
        assert response.body == b"True" and fresh.cookie is not None
        assert fresh.get(path).body == b"True"
    failing = Visitor(visitor.kind)
    assert failing.get("/save?status=500").body == b"True" and failing.cookie is not None
    flushed = Visitor(visitor.kind)
    flushed.get("/put?a=1")
    before = store.count()
    assert flushed.get("/create?flush=1").body == b"True" and flushed.data == {} and store.count() == before


# django contract 37
def test_parallel_requests_lose_nothing(visitor: Visitor) -> None:
    visitor.get("/put?a=1")
    other = Visitor(visitor.kind)
    other.cookie = visitor.cookie or ""
    visitor.client.defaults["sojourn.test.meanwhile"] = lambda: other.get("/put?b=2")
    if visitor.kind == "wsgi":
        visitor.get("/meanwhile?c=3")
        assert visitor.data == {"a": 1, "b": 2, "c": 3}


# django contract 36
@pytest.mark.parametrize("path", ["/put?a=2", "/"])
def test_a_store_that_is_down_is_a_503(
    path: str, visitor: Visitor, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_args: object, **_kwargs: object) -> None:
        raise StoreUnavailable("down")

    visitor.get("/put?a=1")
    with monkeypatch.context() as patched:
        patched.setattr(store, "load", down)
        response = visitor.get(path)
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
        assert b"Service unavailable" in response.body and visitor.cookie is not None
    with monkeypatch.context() as patched:
        patched.setattr(store, "replace", down)
        assert visitor.get("/put?a=2").status_code == 503
        assert visitor.get("/save?a=2").status_code == 503
    assert visitor.data == {"a": 1}


def test_the_page_of_the_503_can_be_a_function_of_the_request(
    visitor: Visitor, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_given: object, **_more: object) -> None:
        raise StoreUnavailable("down")

    visitor.get("/put?a=1")
    options = {"store": store, "store_error_page": lambda request: {"instance": request.path}}
    for operation, path in (("load", "/put?a=2"), ("replace", "/put?a=2"), ("replace", "/save?a=2")):
        with override_settings(SOJOURN=options), monkeypatch.context() as patched:
            patched.setattr(store, operation, down)
            response = visitor.get(path)
            assert (response.status_code, response.headers["Content-Type"]) == (503, "application/problem+json")
            assert json.loads(response.body)["instance"] == path.partition("?")[0]


# django contract 36
def test_a_look_up_that_fails_in_a_middleware_is_a_503_too(
    visitor: Visitor, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor.get("/put?a=1")

    def down(_key: str) -> None:
        raise StoreUnavailable("down")

    with override_settings(CSRF_USE_SESSIONS=True), monkeypatch.context() as patched:
        patched.setattr(store, "load", down)
        assert visitor.get("/form").status_code == 503
        with override_settings(SOJOURN={"store": store, "lazy": False}):
            assert visitor.get("/plain").status_code == 503


# django contract 36
def test_a_site_may_go_on_without_its_sessions(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    with override_settings(SOJOURN={"store": store, "on_store_error": "anonymous", "store_error_page": "later"}):
        visitor.get("/put?a=1")

        def down(_key: str) -> None:
            raise StoreUnavailable("down")

        with monkeypatch.context() as patched:
            patched.setattr(store, "load", down)
            assert visitor.get("/put?b=2").status_code == 200 and visitor.data == {}
            assert visitor.get("/clear").status_code == 200
        assert visitor.data == {"a": 1}


# django contract 3
def test_a_value_that_cannot_be_stored_is_the_sites_own_error(visitor: Visitor) -> None:
    visitor.get("/put?a=1")
    assert visitor.get("/unstorable").status_code == 500 and visitor.data == {"a": 1}


# django contract 58
def test_a_path_may_have_no_session(visitor: Visitor, store: MemoryStore) -> None:
    with override_settings(SOJOURN={"store": store, "exclude": ("/put",)}):
        assert visitor.get("/put?a=1").status_code == 200 and store.count() == 0
        assert visitor.get("/count").body == b"1"


# django contract 2
def test_ids_may_come_otherwise_than_by_cookie(visitor: Visitor, store: MemoryStore) -> None:
    ways = (CookieTransport(), HeaderTransport(), QueryTransport(), FormTransport())
    with override_settings(SOJOURN={"store": store, "transports": ways}):
        sent = Visitor(visitor.kind).get("/put?a=1", headers={"x-session-id": "junk"})
        token = sent.headers["X-Session-Id"]
        assert Visitor(visitor.kind).get("/", headers={"x-session-id": token}).json() == {"a": 1}
        assert Visitor(visitor.kind).get(f"/?sid={token}").json() == {"a": 1}
        assert Visitor(visitor.kind).post("/", {"sid": token}).json() == {"a": 1}


def test_one_request_at_a_time_where_it_is_asked_for(visitor: Visitor, store: MemoryStore) -> None:
    asked: list[Any] = []

    def exclusive(request: Any) -> bool:
        asked.append(request)
        return True

    with override_settings(SOJOURN={"store": store, "exclusive": exclusive}):
        assert [visitor.get("/count").body for _ in range(3)] == [b"1", b"2", b"3"]
        assert visitor.get("/create").body == b"True"
        assert visitor.get("/count").body == b"1"
        assert SessionStore(visitor.cookie)["n"] == 1, "who has no request waits for none"
        assert asked and all(isinstance(request, HttpRequest) for request in asked)


# django contract 48
def test_a_cookie_of_another_domain_is_told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_said", set())
    with override_settings(SESSION_COOKIE_DOMAIN="elsewhere.example"):
        Visitor().get("/put?a=1", headers={"host": "here.example"})
    assert "a session's cookie has the domain elsewhere.example" in caplog.text


# django contract 57
def test_what_is_changed_after_the_request_is_told(caplog: pytest.LogCaptureFixture) -> None:
    kept: list[Any] = []

    def view(request: HttpRequest) -> HttpResponse:
        request.session["a"] = 1
        kept.append(request.session)
        return HttpResponse()

    handle(view)
    kept[0]["b"] = 2
    assert "a session was changed after its request had ended" in caplog.text
    kept[0].save()
    assert SessionStore(kept[0].session_key).load() == {"a": 1, "b": 2}


def test_an_error_that_no_handler_takes_ends_what_was_to_end(store: MemoryStore, visitor: Visitor) -> None:
    there = SessionStore()
    there.save()

    def view(request: HttpRequest) -> HttpResponse:
        request.session.flush()
        request.session["a"] = object()
        return HttpResponse()

    async def aview(request: HttpRequest) -> HttpResponse:
        return view(request)

    request = RequestFactory().get("/", headers={"cookie": f"sessionid={there.signed_key}"})
    run = SessionMiddleware(view) if visitor.kind == "wsgi" else async_to_sync(cast("Any", SessionMiddleware(aview)))
    with pytest.raises(TypeError):
        run(request)
    assert store.count() == 0


def brought(session: SessionStore, **more: Any) -> HttpRequest:
    return RequestFactory().get("/", headers={"cookie": f"sessionid={session.signed_key}"}, **more)


def ask(kind: str, view: Any, request: HttpRequest) -> Any:
    """A request through the middleware alone, in either colour."""
    if kind == "wsgi":
        return handle(view, request)

    async def aview(request: HttpRequest) -> HttpResponse:
        return cast("HttpResponse", view(request))

    return async_to_sync(cast("Any", SessionMiddleware(aview)))(request)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", [None, SessionStore])
def test_the_session_that_another_takes_the_place_of_is_given_back_and_ends_if_it_was_to(
    other: Any, kind: str, store: MemoryStore
) -> None:
    with override_settings(SOJOURN={"store": store, "exclusive": lambda _: True}):
        there = SessionStore()
        there.save()
        key = there.key
        assert key is not None

        def replace(request: HttpRequest) -> HttpResponse:
            assert request.session.get("a") is None and store.lock(key, 1) is None
            request.session = other and other()
            return HttpResponse()

        def flush(request: HttpRequest) -> HttpResponse:
            request.session.flush()
            return replace_only(request)

        def replace_only(request: HttpRequest) -> HttpResponse:
            request.session = other and other()
            return HttpResponse()

        ask(kind, replace, brought(there))
        token = store.lock(key, 1000)
        assert token is not None, "nobody waits for it"
        store.unlock(key, token)
        ask(kind, flush, brought(there))
        assert store.count() == 0


def test_a_session_that_the_view_made_is_secure_over_https() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        request.session = SessionStore()
        request.session["a"] = 1
        return HttpResponse()

    assert "; Secure" in made(handle(view, RequestFactory().get("/", secure=True)))
    assert "; Secure" not in made(handle(view))


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_that_is_never_begun_keeps_no_lock(kind: str, store: MemoryStore) -> None:
    async def parts() -> AsyncIterator[str]:
        yield "a"  # pragma: no cover - nobody asks for it

    def view(request: HttpRequest) -> StreamingHttpResponse:
        request.session["a"] = 1
        return StreamingHttpResponse("a" if kind == "wsgi" else parts())

    with override_settings(SOJOURN={"store": store, "exclusive": lambda _: True}):
        there = SessionStore()
        there.save()
        response = ask(kind, view, brought(there))
        assert there.key is not None and store.lock(there.key, 1000) is None
        response.close()
        assert store.lock(there.key, 1000) is not None and SessionStore(there.session_key)["a"] == 1


def test_a_view_that_is_stopped_ends_what_was_to_end(store: MemoryStore) -> None:
    """Django cancels the view whose client has gone; a server that stops a worker raises in it."""
    there, gone = SessionStore(), SessionStore()
    there.save()
    gone.save()

    def stopped(request: HttpRequest) -> HttpResponse:
        request.session.flush()
        raise SystemExit

    async def cancelled(request: HttpRequest) -> HttpResponse:
        await request.session.aflush()
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError("it waits for ever")

    async def visit() -> None:
        visiting = asyncio.ensure_future(cast("Any", SessionMiddleware(cancelled))(brought(gone)))
        await reached.wait()
        visiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await visiting

    with pytest.raises(SystemExit):
        handle(stopped, brought(there))
    assert store.count() == 1
    reached = asyncio.Event()
    async_to_sync(visit)()
    assert store.count() == 0


# django contract 57
def test_a_stream_that_is_cancelled_loses_nothing() -> None:
    there = SessionStore()
    there.save()

    async def view(request: HttpRequest) -> StreamingHttpResponse:
        async def body() -> AsyncIterator[str]:
            request.session["a"] = 1
            yield "a"
            reached.set()
            await asyncio.Event().wait()

        return StreamingHttpResponse(body())

    async def read(response: StreamingHttpResponse) -> None:
        async for _ in response:
            pass

    async def visit() -> None:
        reading = asyncio.ensure_future(read(await cast("Any", SessionMiddleware(view))(brought(there))))
        await reached.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    reached = asyncio.Event()
    async_to_sync(visit)()
    assert SessionStore(there.session_key)["a"] == 1


def test_a_debug_page_shows_neither_ids_nor_data(visitor: Visitor) -> None:
    """Reports of errors show the variables of frames, too."""
    visitor.get("/put?a=%22tents%22")
    key = SessionStore(visitor.cookie).session_key
    assert key is not None
    with override_settings(DEBUG=True):
        page = visitor.get("/lose?save=1")
    assert page.status_code == 400 and b"UpdateError" in page.body
    assert key.encode() not in page.body and b"tents" not in page.body


# django contract 36
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("status", "sent"), [(500, 503), (502, 502)])
def test_a_save_that_fails_in_a_middleware_is_a_503_too(
    status: int, sent: int, kind: str, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = SessionStore()
    there.save()

    def down(*_args: object, **_kwargs: object) -> None:
        raise StoreUnavailable("down")

    def within(request: HttpRequest) -> HttpResponse:
        request.session["a"] = 1
        try:
            request.session.save()
        except StoreUnavailable:
            return HttpResponse(status=status)  # as Django makes it of what a middleware raises
        raise AssertionError("the store is down")

    with monkeypatch.context() as patched:
        patched.setattr(store, "replace", down)
        assert ask(kind, within, brought(there)).status_code == sent
    assert SessionStore(there.session_key).load() == {}
