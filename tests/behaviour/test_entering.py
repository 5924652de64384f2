"""Express contract, section 2: entering a request."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from sojourn import Cookie
from tests.behaviour.harness import Client, Ctx, Make, put, read


def visit(ctx: Ctx) -> None:
    ctx.session["visited"] = True


def has_session(ctx: Ctx) -> bool:
    return ctx.session is not None


# contract 16
def test_another_layers_session_stays_where_it_is_and_ours_goes_into_a_copied_request(make: Make) -> None:
    world = make()
    slot = "session" if world.adapter == "asgi" else "sojourn.session"
    extra = {slot: {"another": "session"}}
    answer = world.get(lambda ctx: (dict(ctx.session), ctx.session.update(n=1)), extra=extra)
    assert answer.seen[0] == {} and answer.writes == ["create"] and answer.cookie is not None
    assert extra == {slot: {"another": "session"}}


# contract 16
def test_two_middlewares_give_one_session_and_one_commit(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    world = make(twice=True)
    first = world.get(visit)
    assert first.timeline == ["create", "start", "body"]
    second = world.get(lambda ctx: ctx.session.update(n=1))
    assert second.ops == ["load", "replace"]
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1 and "installed twice" in warnings[0].getMessage()


# contract 17
def test_a_store_that_is_down_is_a_503_and_not_silently_no_session(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    world = make()
    client = world.session()
    world.store.fail("load")
    answer = client.get(visit)
    assert answer.status == 503 and not answer.handled
    assert [record.levelno for record in caplog.records if record.levelno > logging.INFO] == [logging.ERROR]


# contract 17
def test_with_anonymous_a_store_that_is_down_is_an_unsaved_session(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    world = make(on_store_error="anonymous")
    client = world.session(user="ann")
    world.store.fail("load")
    answer = client.get(lambda ctx: (dict(ctx.session), ctx.session.update(n=1)))
    assert answer.status == 200 and answer.seen[0] == {}
    assert answer.ops == ["load"] and answer.cookie is None
    assert "requests go on without their sessions" in caplog.text


# contract 18
def test_sessions_resume_when_the_store_is_back_and_the_log_says_so(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    world = make()
    client = world.session(user="ann")
    world.store.fail("load")
    assert [client.get(visit).status for _ in range(3)] == [503] * 3
    world.store.failing = {}
    assert client.get(lambda ctx: dict(ctx.session)).seen == {"user": "ann"}
    said = [record.getMessage() for record in caplog.records if record.levelno > logging.INFO]
    assert len(said) == 2, "one line when an outage begins, one when it ends"
    assert "fails" in said[0] and "back after 3" in said[1]


# contract 19, 26
@pytest.mark.parametrize("cookies", ["", "other=1", "sid=", "connect.sid=unsigned", "sid=unsigned"])
def test_without_a_usable_cookie_the_store_is_not_asked(make: Make, cookies: str) -> None:
    world = make()
    world.store.fail("load")
    answer = world.get(lambda ctx: dict(ctx.session), cookies=cookies)
    assert answer.status == 200 and answer.seen == {} and answer.ops == []


# contract 19, 20
def test_outside_of_the_path_neither_cookie_nor_store_is_looked_at(make: Make) -> None:
    world = make(cookie=Cookie(path="/app", secure=False), save_uninitialized=True, rolling=True)
    client = world.client
    client.get(visit, "/app")
    world.store.fail("load")
    header = client.cookie_header("/app", secure=False)
    assert header is not None
    answer = client.get(has_session, "/elsewhere", cookies=header)
    assert answer.status == 200 and answer.seen is False
    assert answer.ops == [] and answer.cookie is None and answer.header("vary") == []


PATHS = [
    ("/", "/", True),
    ("/", "/foo", True),
    ("/", "", True),  # contract 25
    ("/foo", "/foo", True),  # contract 23
    ("/foo", "/foo/", True),
    ("/foo", "/foo/bar", True),
    ("/foo", "/foo?bar=1", True),
    ("/foo", "/foo/?x=/bar", True),
    ("/foo", "/foobar", False),  # contract 24
    ("/foo", "/fo", False),
    ("/foo", "/", False),
    ("/foo", "", False),
    ("/foo", "/FOO", False),
    ("/foo", "/bar/foo", False),
    ("/foo", "//foo", False),
    ("/foo/", "/foo", False),
    ("/foo/", "/foo/bar", True),
]


# contract 20, 23, 24, 25
@pytest.mark.parametrize(("cookie_path", "path", "inside"), PATHS)
def test_sessions_exist_at_the_cookies_path_and_below(make: Make, cookie_path: str, path: str, *, inside: bool) -> None:
    world = make(cookie=Cookie(path=cookie_path, secure=False), save_uninitialized=True)
    answer = world.get(has_session, path)
    assert answer.seen is inside
    assert answer.ops == (["create"] if inside else [])
    assert (answer.cookie is not None) is inside


@pytest.mark.parametrize(("excluded", "path", "inside"), [(c, p, not i) for c, p, i in PATHS if c == "/foo"])
def test_there_is_no_session_at_excluded_paths_and_below(make: Make, excluded: str, path: str, *, inside: bool) -> None:
    world = make(exclude=["/static", excluded], save_uninitialized=True)
    answer = world.get(has_session, path)
    assert answer.seen is inside
    assert answer.ops == (["create"] if inside else [])


def test_an_excluded_path_does_not_touch_an_existing_session(make: Make) -> None:
    world = make(exclude=["/static"], rolling=True, resave=True)
    client = world.session()
    answer = client.get(has_session, "/static/logo.png")
    assert answer.seen is False and answer.ops == [] and answer.cookie is None


# contract 21
def test_the_path_that_counts_is_the_original_not_the_mount_stripped_one(make: Make) -> None:
    world = make(cookie=Cookie(path="/mount/app", secure=False))
    mounted: dict[str, Any] = {"root_path": "/mount"}  # ASGI's path includes it
    path = "/mount/app/x"
    if world.adapter == "wsgi":
        mounted, path = {"SCRIPT_NAME": "/mount"}, "/app/x"
    assert world.get(has_session, path, extra=mounted).seen is True
    assert world.get(has_session, "/app/x", extra={}).seen is False


# contract 21
@pytest.mark.parametrize("root", ["/mount", "/mount/"])
@pytest.mark.parametrize("path", ["/app/x", "/app"])
def test_what_a_proxy_took_from_the_path_counts_where_the_framework_was_told(make: Make, root: str, path: str) -> None:
    told = {"root_path": root, "SCRIPT_NAME": root}
    world = make(cookie=Cookie(path="/mount/app", secure=False), exclude=["/mount/app/static"])
    assert world.get(has_session, path, extra=told).seen is True
    assert world.get(has_session, "/other", extra=told).seen is False
    assert world.get(has_session, "/app/static/x", extra=told).seen is False
    assert world.get(has_session, path, extra={}).seen is False


# contract 20
@pytest.mark.parametrize("path", ["/a%20b", "/caf%C3%A9/100%25", "/a/(b)'*"])
def test_a_path_is_compared_percent_encoded_as_the_browser_has_it(make: Make, path: str) -> None:
    world = make(cookie=Cookie(path=path, secure=False))
    client = Client(world)
    assert client.get(put(n=1), f"{path}/x?q=1").the_cookie["path"] == path
    assert client.get(read, path).seen == {"n": 1}
    assert world.get(has_session, "/elsewhere").seen is False
    assert world.get(has_session, f"{path}%2Fx").seen is (
        world.adapter == "wsgi"
    )  # where no server tells it from a slash


@pytest.mark.parametrize("raw", [None, b"", "/café/x".encode(), b"/caf%C3%A9/x?q=1"])
def test_servers_that_tell_the_raw_path_in_another_way_or_not_do_as_well(make: Make, raw: bytes | None) -> None:
    world = make(cookie=Cookie(path="/caf%C3%A9", secure=False))
    extra: dict[str, Any] = {"raw_path": raw} if world.adapter == "asgi" else {}
    assert world.get(has_session, "/caf%C3%A9/x", extra=extra).seen is True


# contract 22
def test_a_host_that_resembles_the_path_does_not_count(make: Make) -> None:
    world = make(cookie=Cookie(path="/foo", secure=False))
    answer = world.get(has_session, "/bar", headers=[("Host", "foo"), ("X-Original-Url", "/foo"), ("Referer", "/foo")])
    assert answer.seen is False


def test_a_path_beyond_ascii_is_compared_decoded(make: Make) -> None:
    world = make(exclude=["/é"])
    assert world.get(has_session, "/%C3%A9/x").seen is False
    assert world.get(has_session, "/%C3%A8").seen is True
    assert world.get(has_session, "/%FF%FE").seen is True


# contract 27, 56
def test_the_handler_has_the_stores_view_and_the_id(make: Make) -> None:
    world = make()
    client = world.session(n=1)

    async def look(ctx: Ctx) -> tuple[str, Any]:
        return ctx.session.id, await ctx.sessions("get", ctx.session.id)

    session_id, view = client.get(look).seen
    assert session_id in world.seen_ids and dict(view) == {"n": 1}
    assert view.key == world.key(session_id)


# contract 28
def test_the_session_is_loaded_before_the_handler_runs(make: Make) -> None:
    world = make()
    client = world.session()

    def handle(ctx: Ctx) -> list[str]:
        return list(world.timeline[begun:])

    begun = len(world.timeline)
    assert client.get(handle).seen == ["load"]
