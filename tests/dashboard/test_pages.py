"""The dashboard's pages, in both protocols: what they show and hide, who is let in, what is ended, and that it is logged."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from typing import Any

import httpx
import pytest

from sojourn import ConfigurationError, StoreUnavailable
from sojourn.dashboard import ASGIDashboard, WSGIDashboard
from sojourn.events import SessionEvent
from sojourn.ids import hash_id, mask_id
from sojourn.stores import AsyncMemoryStore, MemoryStore
from tests.dashboard.sites import SECRET, Visitor, browse, dashboard_of, forms, options

SESSIONS = "/sessions?owner=ann"


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def visitor(colour: str, store: MemoryStore) -> Visitor:
    return Visitor(dashboard_of(colour, store))


def key_of(cookie: str) -> str:
    """The name in the store of the session that a browser holds."""
    return hash_id(cookie.rpartition(".")[0])


# -- who is let in ----------------------------------------------------------------------------------------------------------


def test_without_a_guard_there_is_no_dashboard(colour: str) -> None:
    for guard in (None, "carla", True):
        with pytest.raises(ConfigurationError, match=r"^operator: got"):
            dashboard_of(colour, MemoryStore(), operator=guard)  # type: ignore[arg-type]


@pytest.mark.parametrize("who", [None, "", 5, True, b"carla"])
@pytest.mark.parametrize("path", ["/", "/sessions", "/session?name=00000000", "/dashboard.css", "/nowhere"])
def test_whoever_is_no_operator_sees_nothing(colour: str, store: MemoryStore, who: Any, path: str, caplog: Any) -> None:
    browse(store, "ann")
    visitor = Visitor(dashboard_of(colour, store, operator=lambda _: who))
    answers = [visitor.get(path), visitor.post("/owner/end", {"owner": "ann"})]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert all("ann" not in answer.text and "store" not in answer.text.lower() for answer in answers)
    assert store.count() == 1
    assert ("operator returned" in caplog.text) is (who is not None)


def test_a_guard_is_given_the_request_and_may_be_async() -> None:
    async def who(scope: Any) -> str | None:
        await asyncio.sleep(0)
        return dict(scope["headers"]).get(b"x-user", b"").decode() or None

    visitor = Visitor(ASGIDashboard(operator=who, **options(AsyncMemoryStore())))
    assert visitor.get("/").status_code == 403
    assert "You are dora;" in visitor.get("/", **{"X-User": "dora"}).text
    sync = Visitor(WSGIDashboard(operator=lambda environ: environ.get("HTTP_X_USER"), **options(MemoryStore())))
    assert sync.get("/").status_code == 403
    assert "You are dora;" in sync.get("/", **{"X-User": "dora"}).text


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({"Origin": "http://ops.example"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://ops.example"}, True),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({}, False),
    ],
)
def test_forms_of_other_sites_end_nothing(visitor: Visitor, store: MemoryStore, headers: Any, passes: bool) -> None:
    browse(store, "ann")
    answer = visitor.send("POST", "/owner/end", data={"owner": "ann"}, headers=headers)
    assert (answer.status_code, store.count()) == ((303, 0) if passes else (403, 1))


def test_another_origin_can_be_trusted(colour: str, store: MemoryStore) -> None:
    browse(store, "ann")
    visitor = Visitor(dashboard_of(colour, store, trusted_origins=("https://ops.example",)))
    assert visitor.post("/owner/end", {"owner": "ann"}, Origin="https://ops.example").status_code == 303


def test_nothing_ends_by_get(visitor: Visitor, store: MemoryStore) -> None:
    cookie = browse(store, "ann")
    for path in ("/session/end", "/owner/end?owner=ann", "/all/end?sure=end+all"):
        visitor.get(f"{path}{'&' if '?' in path else '?'}name={key_of(cookie)}")
    assert store.count() == 1
    assert visitor.get("/session/end").status_code == 405


# -- what every response says -------------------------------------------------------------------------------------------------

PAGES = [
    "/",
    "/?range=day",
    "/?range=year",
    "/sessions",
    SESSIONS,
    "/find?q=nobody",
    "/store",
    "/all/end",
    "/owner/end?owner=ann",
    "/nowhere",
]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_strict_about_what_it_loads_and_is_kept_by_no_cache(
    visitor: Visitor, store: MemoryStore, path: str
) -> None:
    browse(store, "ann")
    answer = visitor.get(path)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store" and answer.headers["x-content-type-options"] == "nosniff"
    text = re.sub(r"<script src=\"[^\"]*\" defer></script>", "", answer.text)
    assert "<script" not in text and "<style" not in text and not re.search(r"\s(style|on\w+)=", text)
    assert not re.search(r"(src|href|action)=\"(https?:)?//", text)


def test_head_and_other_methods(visitor: Visitor) -> None:
    assert visitor.send("HEAD", "/").status_code == 200 and visitor.send("HEAD", "/").content == b""
    refused = visitor.send("PUT", "/sessions", headers={"Origin": "http://ops.example"})
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize("name", ["dashboard.css", "dashboard.js", "dashboard.svg"])
def test_assets_are_asked_for_anew_and_say_what_they_are(visitor: Visitor, name: str) -> None:
    answer = visitor.get(f"/{name}")
    assert (
        answer.status_code == 200 and answer.headers["etag"] and answer.headers["cache-control"] == "private, no-cache"
    )


# -- what is shown ----------------------------------------------------------------------------------------------------------


def test_the_overview_has_the_figures_of_the_store_and_of_this_process(visitor: Visitor, store: MemoryStore) -> None:
    for owner in ("ann", "ann", "bob", None):
        browse(store, owner)
    kinds: list[tuple[Any, int]] = [("created", 4), ("revoked", 1), ("refused", 2)]
    for kind, count in kinds:
        visitor.dashboard.on_event(SessionEvent(kind=kind, at=now(), count=count))
    text = visitor.get("/").text
    assert figure(text, "Live sessions") == "4" and figure(text, "Logged in") == "75 %"
    assert "4 begun, 1 ended." in text and '>refused</th><td class="num">2<' in text
    assert re.search(r'<a href="[^"]*owner=ann">ann</a></th><td class="num">2<', text)


def test_without_listening_the_overview_says_how_to(visitor: Visitor) -> None:
    assert "on_event=dashboard.on_event" in visitor.get("/").text


def figure(text: str, name: str) -> str:
    found = re.search(f"<dt>{name}</dt><dd>(.*?)</dd>", text)
    assert found is not None
    return found[1]


def now() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC)


def test_an_owner_is_found_and_so_is_a_session_by_its_key_and_its_mask(visitor: Visitor, store: MemoryStore) -> None:
    cookie = browse(store, "ann & co")
    found = visitor.get("/find?q=ann %26 co")
    assert found.headers["location"] == "/sessions?owner=ann+%26+co"
    page = visitor.get(found.headers["location"])
    key = key_of(cookie)
    assert "Sessions of ann &amp; co" in page.text and f"name={key}" in page.text
    assert visitor.get(f"/find?q={key}").headers["location"] == f"/session?name={key}"
    by_mask = visitor.get(f"/find?q={key[:8]}…").headers["location"]
    assert by_mask == f"/sessions?prefix={key[:8]}" and f"name={key}" in visitor.get(by_mask).text
    assert visitor.get("/find?q=").headers["location"] == "/sessions"
    missing = visitor.get("/find?q=<i>bob</i>")
    assert missing.status_code == 404 and "Nothing found for “&lt;i&gt;bob" in missing.text


def test_an_id_finds_nothing_and_is_shown_nowhere(visitor: Visitor, store: MemoryStore) -> None:
    cookie = browse(store, "ann")
    session_id = cookie.rpartition(".")[0]
    assert visitor.get(f"/find?q={session_id}").status_code == 404
    shown = visitor.get(f"/session?name={key_of(cookie)}")
    for page in (visitor.get("/"), visitor.get(SESSIONS), shown):
        assert session_id not in page.text and cookie not in page.text


def test_values_are_masked_until_they_are_revealed_which_is_logged(
    visitor: Visitor, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    key = key_of(browse(store, "ann"))
    page = visitor.get(f"/session?name={key}")
    assert "secret plan" in page.text and "str of 21" in page.text and "tents" not in page.text
    assert caplog.records == []
    revealed = visitor.post("/session", {"name": key})
    assert "buy &lt;b&gt;more&lt;/b&gt; tents" in revealed.text and "data-live" not in revealed.text
    [record] = [one for one in caplog.records if one.name == "sojourn.dashboard"]
    assert (
        record.getMessage() == f"carla revealed the values of session {key[:8]}" and record.levelno == logging.WARNING
    )


def test_a_dashboard_can_be_told_to_reveal_nothing(colour: str, store: MemoryStore) -> None:
    visitor = Visitor(dashboard_of(colour, store, reveals=False))
    key = key_of(browse(store, "ann"))
    assert forms(visitor.get(f"/session?name={key}")) == ["/session/end"]
    refused = visitor.post("/session", {"name": key})
    assert refused.status_code == 403 and "tents" not in refused.text


def test_a_long_value_is_cut_off(visitor: Visitor, store: MemoryStore) -> None:
    key = key_of(browse(store, "ann"))
    held = store.load(key)
    data = held.data.replace(b"buy ", b"buy " + b"x" * 9000)  # type: ignore[union-attr]
    assert store.replace(key, data, 60_000, version=held.version, owner="ann")  # type: ignore[union-attr]
    text = visitor.post("/session", {"name": key}).text
    assert "characters in all)" in text and len(text) < 12_000


def test_half_a_character_is_shown_escaped(visitor: Visitor, store: MemoryStore) -> None:
    """JavaScript's strings may hold a surrogate alone, which UTF-8 has no bytes for."""
    key = key_of(browse(store, "ann"))
    held = store.load(key)
    data = held.data.replace(b'"secret plan":"buy ', b'"\\ud800 plan":["\\udfff"],"other":"\\udfff buy ')  # type: ignore[union-attr]
    assert data != held.data  # type: ignore[union-attr]
    assert store.replace(key, data, 60_000, version=held.version, owner="ann")  # type: ignore[union-attr]
    masked, revealed = visitor.get(f"/session?name={key}"), visitor.post("/session", {"name": key})
    for page in (masked, revealed):
        assert page.status_code == 200 and r"\ud800 plan" in page.text
    assert revealed.text.count(r"\udfff") == 2


def test_a_record_that_nobody_can_read_is_listed_and_can_be_ended(visitor: Visitor, store: MemoryStore) -> None:
    key = hash_id("damaged")
    store.create(key, b"{", 60_000)
    assert "unreadable" in visitor.get("/sessions").text
    assert visitor.get(f"/session?name={key}").status_code == 422
    visitor.post("/session/end", {"name": key})
    assert store.count() == 0


# -- ending -----------------------------------------------------------------------------------------------------------------


def test_one_session_is_ended(visitor: Visitor, store: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    first, _second = browse(store, "ann"), browse(store, "ann")
    key = key_of(first)
    page = visitor.get(f"/session?name={key}&owner=ann")
    assert forms(page) == ["/session/end", "/session"]
    answer = visitor.post("/session/end", {"name": key, "owner": "ann"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sessions?owner=ann&ended=1")
    assert "1 session ended." in visitor.get(answer.headers["location"]).text
    assert store.load(key) is None and store.count() == 1
    [record] = caplog.records
    assert record.getMessage() == f"carla ended session {key[:8]}"
    assert (record.operator, record.session, record.owner) == ("carla", key, "ann")  # type: ignore[attr-defined]
    assert visitor.post("/session/end", {"name": key}).status_code == 404


def test_all_sessions_of_an_owner_are_ended(
    visitor: Visitor, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    for owner in ("ann", "ann", "bob"):
        browse(store, owner)
    asked = visitor.get("/owner/end?owner=ann")
    assert "2 sessions" in asked.text and forms(asked) == ["/owner/end"]
    answer = visitor.post("/owner/end", {"owner": "ann"})
    assert answer.headers["location"] == "/sessions?owner=ann&ended=2"
    page = visitor.get(answer.headers["location"]).text
    assert "2 sessions ended." in page and "ann has no live session." in page
    assert store.count() == 1
    [record] = caplog.records
    assert record.getMessage() == f"carla ended all sessions of an owner ({mask_id('ann')}): 2"
    assert "ann" not in record.getMessage() and record.owner == "ann"  # type: ignore[attr-defined]


def test_all_are_ended_by_who_says_so_twice(
    visitor: Visitor, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    for owner in ("ann", None):
        browse(store, owner)
    asked = visitor.get("/all/end")
    assert forms(asked) == ["/all/end"]
    for sure in ({}, {"sure": "yes"}, {"sure": "END ALL"}):
        refused = visitor.post("/all/end", sure)
        assert refused.status_code == 400 and "Nothing was ended" in refused.text and store.count() == 2
    assert visitor.post("/all/end", {"sure": "end all"}).headers["location"] == "/sessions?ended=2"
    assert store.count() == 0
    assert [record.getMessage() for record in caplog.records] == ["carla ended all sessions: 2"]


def test_an_ended_browser_is_logged_out(visitor: Visitor, store: MemoryStore) -> None:
    from sojourn.wsgi import SessionMiddleware

    cookie = browse(store, "ann")
    visitor.post("/owner/end", {"owner": "ann"})

    def site(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return [(environ["sojourn.session"].owner or "nobody").encode()]

    app = SessionMiddleware(site, **options(store))
    with httpx.Client(transport=httpx.WSGITransport(app), base_url="https://shop.example") as client:
        assert client.get("/", headers={"Cookie": f"__Host-sid={cookie}"}).text == "nobody"


def test_listeners_are_told_and_the_charts_have_it_once(colour: str, store: MemoryStore) -> None:
    told: list[SessionEvent] = []
    made: list[Any] = []

    def listen(event: SessionEvent) -> None:
        told.append(event)
        made[0].on_event(event)  # as a site does that gives both

    made.append(dashboard_of(colour, store, on_event=listen))
    visitor = Visitor(made[0])
    key = key_of(browse(store, "ann"))
    browse(store, "ann")
    visitor.post("/session/end", {"name": key, "owner": "ann"})
    visitor.post("/owner/end", {"owner": "ann"})
    assert [(event.kind, event.session, event.owner, event.count, event.reason) for event in told] == [
        ("revoked", f"{key[:8]}…", "ann", 1, "operator"),
        ("revoked", None, "ann", 1, "operator"),
    ]
    assert "0 begun, 2 ended." in visitor.get("/").text


def test_an_operators_name_cannot_forge_a_line_of_the_log(colour: str, store: MemoryStore, caplog: Any) -> None:
    browse(store, "ann")
    visitor = Visitor(dashboard_of(colour, store, operator=lambda _: "eve\ncarla ended nothing <b>"))
    visitor.post("/owner/end", {"owner": "ann"})
    assert "\n" not in caplog.records[0].getMessage()
    assert "&lt;b&gt;" in visitor.get("/").text


# -- what cannot be ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/sessions?after=junk",
        "/sessions?owner=%00",
        "/owner/end?owner=",
        "/session?name=",
        "/session?name=../../etc",
        "/session?name=" + "0" * 64,
        "/find?q=%00",
        "/sessions?owner=" + "x" * 3000,
        "/sessions?idle=never&anonymous=1&ended=many",
    ],
)
def test_strange_requests_get_a_page(visitor: Visitor, path: str) -> None:
    answer = visitor.get(path)
    assert answer.status_code in (200, 400, 404) and "<main" in answer.text


def test_a_form_of_a_megabyte_is_refused(visitor: Visitor) -> None:
    assert visitor.post("/owner/end", {"owner": "x" * 1_000_000}).status_code == 413


def test_a_store_that_is_down_is_said_and_nothing_of_its_secrets(
    visitor: Visitor, store: MemoryStore, monkeypatch: Any
) -> None:
    def down(*_: object, **__: object) -> Any:
        raise StoreUnavailable("the server cannot be reached", driver_error=OSError("redis://ann:hunter2@db"))

    for method in ("load", "page", "count", "by_owner", "facts"):
        monkeypatch.setattr(store, method, down)
    overview = visitor.get("/")
    assert overview.status_code == 200 and "StoreUnavailable: the server cannot be reached" in overview.text
    for path in ("/sessions", SESSIONS, "/store", "/find?q=ann"):
        answer = visitor.get(path)
        assert answer.status_code == 503 and "hunter2" not in answer.text


def test_options_and_a_middleware_are_not_both_taken(colour: str, store: MemoryStore) -> None:
    made = dashboard_of(colour, store)
    with pytest.raises(ConfigurationError, match=r"^sessions: got it and secret"):
        type(made)(operator=lambda _: "carla", sessions=made.sessions, secret=SECRET)
    assert Visitor(type(made)(operator=lambda _: "carla", sessions=made.sessions)).get("/").status_code == 200


@pytest.mark.anyio
async def test_sockets_are_closed_and_the_lifespan_is_the_sites() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    dashboard = ASGIDashboard(operator=lambda _: "carla", **options(AsyncMemoryStore()))
    await dashboard({"type": "websocket", "path": "/"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
    with pytest.raises(NotImplementedError, match="lifespan"):
        await dashboard({"type": "lifespan"}, receive, send)


@pytest.mark.anyio
async def test_half_a_form_ends_nobodys_sessions(store: MemoryStore) -> None:
    own = {"v": 1, "created": 1, "owner": "ann"}
    store.create(hash_id("1"), json.dumps({"cookie": {}, "__sojourn__": own}).encode(), 60_000, owner="ann")
    parts = [{"type": "http.request", "body": b"owner=ann", "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return parts.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "scheme": "http", "path": "/owner/end"}
    headers = [(b"sec-fetch-site", b"same-origin"), (b"content-length", b"13")]
    await dashboard_of("async", store)({**scope, "headers": headers, "query_string": b""}, receive, send)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "wsgi.url_scheme": "http",
        "PATH_INFO": "/owner/end",
        "CONTENT_LENGTH": "13",
    }
    environ |= {"HTTP_SEC_FETCH_SITE": "same-origin", "wsgi.input": io.BytesIO(b"owner=ann")}
    list(dashboard_of("sync", store)(environ, lambda status, _headers: sent.append({"status": int(status[:3])})))
    assert [message["status"] for message in sent if "status" in message] == [400, 400]
    assert store.by_owner("ann")


@pytest.mark.parametrize("path", ["/…", "/…".encode().decode("latin-1")])
def test_a_path_is_understood_as_bytes_and_as_text(path: str) -> None:
    environ = {"REQUEST_METHOD": "GET", "wsgi.url_scheme": "http", "PATH_INFO": path}
    sent: list[str] = []
    list(dashboard_of("sync", MemoryStore())(environ, lambda status, _headers: sent.append(status)))
    assert sent == ["404 Not Found"]
