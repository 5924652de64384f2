"""Express contract, section 4: loading."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from sojourn import StoreError, StoreTimeout, StoreUnavailable
from sojourn.core.store import Stored
from sojourn.options import ErrorPage
from tests.behaviour.harness import DAY, MINUTE, Client, Ctx, Make, put, read


# contract 42
def test_what_was_stored_is_there_on_the_next_request(make: Make) -> None:
    world = make()
    client = world.session(user="ann", cart={"items": [1, 2, {"x": None}]}, pi=3.5, yes=True, text="ünïcode ☕")
    answer = client.get(read)
    assert answer.seen == {
        "user": "ann",
        "cart": {"items": [1, 2, {"x": None}]},
        "pi": 3.5,
        "yes": True,
        "text": "ünïcode ☕",
    }
    assert answer.ops.count("load") == 1


# contract 43
def test_two_clients_without_cookies_have_two_sessions(make: Make) -> None:
    world = make()
    ids = {Client(world).get(put(n=n)).id for n in range(2)}
    assert len(ids) == 2
    assert sorted(world.data(session_id)["n"] for session_id in ids) == [0, 1]  # type: ignore[index]


# contract 43, 48
def test_parallel_first_requests_create_nothing_until_one_writes(make: Make) -> None:
    world = make()
    tabs = [world.client.copy() for _ in range(5)]
    assert [tab.get(read).cookie for tab in tabs] == [None] * 5
    assert world.stored() == {}


# contract 44, 52
@pytest.mark.parametrize("error", [StoreUnavailable("down"), StoreTimeout("slow"), StoreError("broken")])
def test_a_failing_load_is_a_503_and_the_handler_does_not_run(make: Make, error: Exception) -> None:
    world = make()
    client = world.session()
    world.store.fail("load", error=error)
    answer = client.get(read)
    assert answer.status == 503 and not answer.handled
    assert answer.cookie is None and answer.header("cache-control") == ["no-store"] and answer.header("retry-after")
    assert b"unavailable" in answer.body and b"down" not in answer.body


# contract 44
def test_the_page_of_the_503_can_be_supplied(make: Make) -> None:
    world = make(store_error_page="<h1>Pause ☕</h1>")
    client = world.session()
    world.store.fail("load")
    answer = client.get(read)
    assert answer.body.decode() == "<h1>Pause ☕</h1>"
    assert answer.header("content-length") == [str(len(answer.body))]
    assert answer.header("content-type") == ["text/html; charset=utf-8"]


# contract 44
@pytest.mark.parametrize("operation", ["load", "replace"])
def test_the_page_of_the_503_can_be_a_function_of_the_request(make: Make, operation: str) -> None:
    def page(request: Any) -> ErrorPage:
        path = request.get("path") or request["PATH_INFO"]
        return ErrorPage({"detail": f"later, at {path}"}, {"Retry-After": "60"})

    world = make(store_error_page=page)
    client = world.session()
    world.store.fail(operation)
    answer = client.get(put(n=7))
    assert answer.status == 503
    assert json.loads(answer.body) == {"title": "Service Unavailable", "status": 503, "detail": "later, at /"}
    assert answer.header("content-type") == ["application/problem+json"] and answer.header("retry-after") == ["60"]


# contract 46, 47, 48
def test_an_unknown_id_is_never_adopted(make: Make) -> None:
    world = make()
    answer = Client(world).holding("unissued").get(lambda ctx: (ctx.session.is_new, ctx.session.update(n=1)))
    assert answer.seen[0] is True
    assert answer.ops == ["load", "create"] and answer.id != "unissued"
    assert world.record("unissued") is None and world.data(answer.id) == {"n": 1}


# contract 48
def test_a_dead_cookie_that_is_only_read_is_neither_replaced_nor_cleared(make: Make) -> None:
    world = make()
    client = Client(world).holding("dead")
    answer = client.get(lambda ctx: (dict(ctx.session), ctx.session.id))
    assert answer.seen[0] == {} and answer.seen[1] != "dead"
    assert answer.cookie is None and answer.ops == ["load"] and world.stored() == {}


# contract 49
def test_an_expired_session_is_a_new_one_with_another_id(make: Make) -> None:
    world = make(idle_timeout=60)
    client = world.session(user="ann")
    old = next(iter(world.seen_ids))
    world.clock.advance(MINUTE - 1)
    assert client.copy().get(lambda ctx: len(ctx.session), method="HEAD").seen == 1
    world.clock.advance(MINUTE)
    answer = client.get(lambda ctx: (dict(ctx.session), ctx.session.update(n=1)))
    assert answer.seen[0] == {} and answer.id != old
    assert [data["n"] for data in world.stored().values()] == [1]


RECORDS = {
    "no JSON": b"certainly not",
    "no text": b"\xff\xfe\x00",
    "empty": b"",
    "half": b'{"cookie":{"originalMaxAge":null},"n',
    "no object": b"[1,2]",
    "null": b"null",
    "no cookie part": b'{"n":1}',
    "a cookie that is no object": b'{"cookie":"yes","n":1}',
    "a cookie that is null": b'{"cookie":null,"n":1}',
    "a newer layout": b'{"cookie":{},"__sojourn__":{"v":99,"created":1},"n":1}',
    "a reserved part of the wrong type": b'{"cookie":{},"__sojourn__":"no","n":1}',
    "a reserved part without its times": b'{"cookie":{},"__sojourn__":{"v":1},"n":1}',
    "a lifetime that is too deep": b'{"cookie":{"originalMaxAge":' + b"[" * 100_000 + b"]" * 100_000 + b'},"n":1}',
    "a value that is no JSON": b'{"cookie":{},"n":1,"m":NaN}',
    "a value that is no text": b'{"cookie":{},"n":1,"m":"\xff"}',
}

UNREADABLE = {
    "too deep": b"[" * 100_000 + b"]" * 100_000,
    "beyond a float's range": b"1e400",
    "longer than integers may be": b"9" * 5000,
}


# contract 50
@pytest.mark.parametrize("broken", RECORDS.values(), ids=RECORDS)
def test_a_broken_record_is_logged_and_a_fresh_session_begun(
    make: Make, broken: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    world = make()
    client = world.plant(broken)
    answer = client.get(lambda ctx: (dict(ctx.session), ctx.session.is_new, ctx.session.update(n=2)))
    assert answer.status == 200 and answer.seen[:2] == ({}, True)
    assert answer.id != "planted" and world.data(answer.id) == {"n": 2}
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1 and "unreadable" in errors[0].getMessage()
    assert client.get(read).seen == {"n": 2}


# contract 50
@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("ask", [lambda s: s.get("bad"), dict, lambda s: s.pop("bad", None), list])
def test_where_a_value_cannot_be_read_the_session_begins_anew_once_it_is_asked_for(
    make: Make, text: bytes, ask: Callable[[Any], object], caplog: pytest.LogCaptureFixture
) -> None:
    world = make()
    client = world.plant(b'{"cookie":{},"n":1,"bad":' + text + b',"user":"hunter2"}')

    def handler(ctx: Ctx) -> Any:
        session = ctx.session
        first = session["n"], session["user"], session.is_new, len(session)
        session["set"] = "before"
        asked = ask(session)
        session["m"] = 2
        return first, asked, session.is_new, dict(session)

    answer = client.get(handler)
    assert answer.status == 200
    first, asked, is_new, left = answer.seen
    assert first == (1, "hunter2", False, 3) and not asked and is_new and left == {"m": 2}
    assert answer.id != "planted" and world.data(answer.id) == {"m": 2}
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1 and "a value that cannot be read" in errors[0].getMessage()
    assert "planted" not in errors[0].getMessage() and "hunter2" not in errors[0].getMessage()
    assert client.get(read).seen == {"m": 2}


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("change", [False, True])
def test_where_nobody_asks_for_it_a_value_that_cannot_be_read_is_carried_over(
    make: Make, text: bytes, change: bool, caplog: pytest.LogCaptureFixture
) -> None:
    world = make(touch_after=None)
    client = world.plant(b'{"cookie":{"originalMaxAge":null},"n":1,"bad":' + text + b"}")

    def handler(ctx: Ctx) -> Any:
        if change:
            ctx.session["n"] += 1
        return ctx.session["n"], "bad" in ctx.session, len(ctx.session), ctx.session.is_new

    for n in range(1, 4):
        answer = client.get(handler)
        assert answer.status == 200 and answer.seen == (n + 1 if change else 1, True, 2, False)
        assert answer.writes == (["replace"] if change else [])
        found = world.store.kept.load(world.key("planted"))
        assert isinstance(found, Stored) and found.data.endswith(b',"n":%d,"bad":%b}' % (answer.seen[0], text))
    assert not caplog.records
    client.get(lambda ctx: ctx.session.__delitem__("bad"))
    assert world.data("planted") == {"n": 4 if change else 1}


# contract 50
@pytest.mark.parametrize("act", ["nothing", "read", "touch", "destroy", "clear", "invalidate"])
def test_no_broken_record_locks_a_client_out(make: Make, act: str) -> None:
    world = make()
    client = world.plant(b"broken")
    acts: dict[str, Any] = {
        "nothing": lambda ctx: None,
        "read": read,
        "touch": lambda ctx: ctx.session.touch(),
        "destroy": lambda ctx: ctx.session.destroy(),
        "clear": lambda ctx: ctx.session.clear(),
        "invalidate": lambda ctx: ctx.session.invalidate(),
    }
    answer = client.get(acts[act])
    assert answer.status == 200
    ends = act in ("destroy", "invalidate") or (act == "clear" and world.profile == "native")
    assert answer.writes == (["delete"] if ends else [])


# contract 50
@pytest.mark.parametrize("options", [{"rolling": True}, {"resave": True}, {"touch_after": 0}])
def test_a_broken_record_that_nobody_looks_at_is_no_error_either(make: Make, options: dict[str, Any]) -> None:
    world = make(**options)
    answer = world.plant(b"broken").get()
    assert answer.status == 200 and answer.writes == [] and answer.cookie is None


# contract 51
@pytest.mark.parametrize("key", ["save", "touch", "id", "regenerate", "keys", "get", "_data", "__class__", "toString"])
def test_stored_keys_never_take_the_place_of_methods(make: Make, key: str) -> None:
    world = make()
    client = world.plant({key: "taken", "n": 1})

    async def use(ctx: Ctx) -> tuple[Any, ...]:
        session = ctx.session
        before = session.get("n"), session.id, callable(session.touch), callable(session.regenerate)
        session.touch()
        await ctx.save()
        return before

    answer = client.get(use)
    assert answer.status == 200 and answer.seen == (1, "planted", True, True)


# contract 51
@pytest.mark.parametrize(
    ("key", "refused"),
    [("cookie", "both"), ("__sojourn__", "both"), ("save", "express"), ("toString", "express"), ("req", "express")],
)
def test_a_name_that_would_be_dropped_is_refused_when_written(make: Make, key: str, refused: str) -> None:
    world = make()
    answer = world.get(lambda ctx: ctx.session.update({key: 1}), may_fail=True)
    if refused in ("both", world.profile):
        assert answer.status == 500 and key in str(answer.error) and world.stored() == {}
    else:
        assert world.data(answer.id) == {key: 1}


# contract 51
def test_a_record_with_names_that_express_drops_can_still_be_changed(expressive: Make) -> None:
    world = expressive()
    client = world.plant({"toString": "taken", "n": 1})
    answer = client.get(lambda ctx: ctx.session.update(n=2))
    assert answer.status == 200 and world.data("planted")["n"] == 2  # type: ignore[index]


# contract 53
@pytest.mark.parametrize("expires", ["never", 5, None, "1970-01-01T00:00:00.000Z", {"$date": 1}])
def test_the_expiry_inside_a_record_says_nothing_about_its_life(make: Make, expires: Any) -> None:
    world = make()
    client = world.plant({"n": 1}, cookie={"originalMaxAge": 60_000, "expires": expires, "path": "/"})
    answer = client.get(lambda ctx: (dict(ctx.session), ctx.session.cookie.original_max_age))
    assert answer.seen == ({"n": 1}, 60)


# contract 53
@pytest.mark.parametrize(
    "lifetime",
    [
        "soon",
        None,
        -5,
        0,
        1.5,
        10**30,
        True,
        [],
        {},
    ],
)
def test_a_strange_lifetime_inside_a_record_is_no_error(make: Make, lifetime: Any) -> None:
    world = make()
    client = world.plant({"n": 1}, cookie={"originalMaxAge": lifetime, "path": "/"})
    answer = client.get(lambda ctx: (ctx.session["n"], ctx.session.update(n=2)))
    assert answer.status == 200 and answer.seen[0] == 1


# contract 53
def test_an_infinite_lifetime_inside_a_record_is_no_error(make: Make) -> None:
    world = make()
    client = world.plant(b'{"cookie":{"originalMaxAge":1e400,"path":"/"},"n":1}')
    assert client.get(put(n=2)).status == 200
    assert client.get(lambda ctx: ctx.session.cookie.expires).status == 200


def test_a_record_that_express_wrote_is_complete_and_kept_in_its_form(make: Make) -> None:
    world = make()
    part = {"originalMaxAge": 3_600_000, "expires": "2026-11-21T04:32:17.370Z", "httpOnly": True, "path": "/"}
    client = world.plant({"user": "ann"}, cookie=part)
    client.get(lambda ctx: ctx.session.update(n=1))
    record = world.record("planted")
    assert record is not None and list(record)[:2] == ["cookie", "__sojourn__"]
    assert record["cookie"]["originalMaxAge"] == 3_600_000 and record["user"] == "ann" and record["n"] == 1
    assert record["__sojourn__"]["created"] == world.clock()
    assert json.dumps(record) and world.ttl("planted") == 3_600_000 < DAY
