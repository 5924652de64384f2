"""Express contract, section 5: the session object."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import MutableMapping
from typing import Any

import pytest

import sojourn
from sojourn import SessionDestroyed
from tests.behaviour.harness import HOUR, Ctx, Make, put, read


# contract 54
def test_it_enumerates_the_data_and_nothing_else(make: Make) -> None:
    world = make()
    client = world.session(a=1, b=2)

    def look(ctx: Ctx) -> tuple[Any, ...]:
        session = ctx.session
        return list(session), list(session.keys()), list(session.values()), dict(session), len(session), {**session}

    keys = ["a", "b"]
    assert client.get(look).seen == (keys, keys, [1, 2], {"a": 1, "b": 2}, 2, {"a": 1, "b": 2})


# contract 54
def test_it_is_a_mutable_mapping_in_every_respect(make: Make) -> None:
    world = make()
    client = world.session(a=1, b=[1], c="x")

    def use(ctx: Ctx) -> None:
        session = ctx.session
        assert isinstance(session, MutableMapping) and "a" in session and "z" not in session
        assert session["a"] == 1 and session.get("z") is None and session.get("z", 5) == 5
        with pytest.raises(KeyError):
            session["z"]
        with pytest.raises(KeyError):
            del session["z"]
        assert session.pop("a") == 1 and session.pop("a", None) is None
        assert session.setdefault("b", []) == [1] and session.setdefault("d", 4) == 4
        session.update({"e": 5})
        assert session == {"b": [1], "c": "x", "d": 4, "e": 5}
        assert bool(session)
        with pytest.raises(TypeError):
            hash(session)

    answer = client.get(use)
    assert answer.writes == ["replace"]
    assert client.get(read).seen == {"b": [1], "c": "x", "d": 4, "e": 5}


# contract 54
@pytest.mark.parametrize("empty", ["clear", "popitem"])
def test_a_session_without_its_last_key_stays_and_clear_ends_it_but_in_the_express_profile(
    make: Make, empty: str
) -> None:
    world = make()
    client = world.session(a=1)
    ends = empty == "clear" and world.profile == "native"
    answer = client.get(lambda ctx: (getattr(ctx.session, empty)(), bool(ctx.session)))
    assert answer.seen[1] is False and answer.writes == ["delete" if ends else "replace"]
    assert (answer.cookie is not None and answer.the_cookie.is_expired) is ends
    assert client.get(lambda ctx: (dict(ctx.session), ctx.session.is_new)).seen == ({}, ends)


# contract 55
@pytest.mark.parametrize(
    "name", ["id", "key", "is_new", "created_at", "expires_at", "owner", "authenticated_at", "sessions"]
)
def test_what_it_knows_of_itself_cannot_be_assigned_and_is_no_data(make: Make, name: str) -> None:
    world = make()
    client = world.session(n=1)

    def use(ctx: Ctx) -> list[str]:
        with pytest.raises(AttributeError):
            setattr(ctx.session, name, "mine")
        return list(ctx.session)

    answer = client.get(use)
    assert answer.seen == ["n"] and name not in json.dumps(next(iter(world.stored().values())))


# contract 56
def test_the_id_is_the_one_in_the_cookie(make: Make) -> None:
    world = make()
    first = world.get(lambda ctx: (ctx.session.id, ctx.session.key, ctx.session.update(n=1)))
    assert first.seen[:2] == (first.id, world.key(first.id))
    second = world.get(lambda ctx: (ctx.session.id, ctx.session.is_new))
    assert second.seen == (first.id, False)


# contract 56
def test_an_id_that_was_only_asked_for_is_not_given_out(make: Make) -> None:
    world = make()
    answer = world.get(lambda ctx: [ctx.session.id, ctx.session.id])
    assert answer.seen[0] == answer.seen[1] and answer.cookie is None and answer.ops == []


def test_it_tells_whether_it_is_new_and_since_when_and_until_when(make: Make) -> None:
    world = make(idle_timeout=3600)
    begun = world.clock()
    look = lambda ctx: (  # noqa: E731
        ctx.session.is_new,
        round(ctx.session.created_at.timestamp() * 1000),
        round(ctx.session.expires_at.timestamp() * 1000),
        ctx.session.update(n=1),
    )
    assert world.get(look).seen[:3] == (True, begun, begun + HOUR)
    world.clock.advance(1000)
    assert world.get(look).seen[:3] == (False, begun, begun + 1000 + HOUR)


# contract 57, 152
@pytest.mark.parametrize("method", ["regenerate", "touch", "reload", "save"])
def test_the_methods_keep_the_same_object(make: Make, method: str) -> None:
    world = make()
    client = world.session(n=1)

    async def use(ctx: Ctx) -> bool:
        held = ctx.session
        if method in ("save", "reload"):
            await getattr(ctx, method)()
        else:
            getattr(ctx.session, method)()
        held["m"] = 2
        return ctx.session is held

    assert client.get(use).seen is True
    assert client.get(lambda ctx: ctx.session["m"]).seen == 2


# contract 58
@pytest.mark.parametrize("other", [{"user": "eve"}, {}, 5, "text", [("a", 1)], True, object()])
@pytest.mark.parametrize("existing", [True, False])
def test_another_object_in_its_place_is_another_layers_and_ours_stays_as_it_was(
    make: Make, other: object, caplog: pytest.LogCaptureFixture, *, existing: bool
) -> None:
    world = make(touch_after=3600)
    client = world.session(n=1) if existing else world.client

    def handle(ctx: Ctx) -> None:
        ctx.session["kept"] = "yes"
        ctx.session = other

    answer = client.get(handle)
    assert answer.status == 200 and answer.writes == ["replace" if existing else "create"]
    assert client.get(read).seen == ({"n": 1} if existing else {}) | {"kept": "yes"}
    said = [record for record in caplog.records if record.levelno > logging.INFO]
    assert [record.levelno for record in said] == [logging.WARNING]
    assert "session.update" in said[0].getMessage()


# contract 58, 142
def test_another_object_in_the_place_of_a_destroyed_session_does_not_take_the_destroy_back(make: Make) -> None:
    world = make()

    def handle(ctx: Ctx) -> None:
        ctx.session.destroy()
        ctx.session = {"user": "ann"}

    answer = world.session(n=1).get(handle)
    assert answer.status == 200 and answer.the_cookie.is_expired and world.stored() == {}


# contract 59
@pytest.mark.parametrize("drawn", [None, 5, b"bytes", "", ["x"]])
def test_an_id_that_is_no_text_means_no_cookie_and_no_save(
    make: Make, drawn: object, caplog: pytest.LogCaptureFixture
) -> None:
    world = make(generate_id=lambda _request: drawn)
    answer = world.get(put(n=1))
    assert answer.status == 200 and answer.cookie is None and answer.writes == []
    assert any(record.levelno == logging.ERROR and "generate_id" in record.getMessage() for record in caplog.records)


# contract 59
def test_an_id_too_long_for_a_cookie_means_no_cookie_and_no_save(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    world = make(generate_id=lambda _request: "x" * 4096)
    answer = world.get(put(n=1))
    assert answer.status == 200 and answer.cookie is None and answer.writes == []
    assert "too long for a cookie" in caplog.text


# contract 60, 184
def test_writes_survive_and_can_be_read_by_id_through_the_store(make: Make) -> None:
    world = make()
    session_id = world.get(put(user="ann", cart=[1])).id

    async def look(ctx: Ctx) -> Any:
        view = await ctx.sessions("get", session_id)
        return dict(view), view.owner, view.created_at is not None, repr(view)

    answer = world.get(look)
    assert answer.seen[:3] == ({"user": "ann", "cart": [1]}, None, True)
    assert session_id not in answer.seen[3] and "ann" not in answer.seen[3]


@pytest.mark.parametrize("state", ["new", "stored", "destroyed", "regenerated"])
def test_its_repr_shows_neither_id_nor_data(make: Make, state: str) -> None:
    world = make()
    client = world.client if state == "new" else world.session(user="ann")

    def look(ctx: Ctx) -> tuple[str, str, str]:
        session_id = ctx.session.id
        ctx.session["secret"] = "hidden"
        cookie = repr(ctx.session.cookie)
        if state in ("destroyed", "regenerated"):
            getattr(ctx.session, {"destroyed": "destroy", "regenerated": "regenerate"}[state])()
        return repr(ctx.session), cookie, session_id

    text, cookie, session_id = client.get(look).seen
    assert state in text and "Session" in text
    for hidden in (session_id, "hidden", "ann", world.key(session_id)):
        assert hidden not in text and hidden not in cookie


def test_the_type_says_its_colour(make: Make) -> None:
    world = make()
    wanted = sojourn.Session if world.adapter == "wsgi" else sojourn.AsyncSession
    assert world.get(lambda ctx: type(ctx.session)).seen is wanted


DESTROYED: dict[str, Any] = {
    "read": lambda s: s["n"],
    "get": lambda s: s.get("n"),
    "contains": lambda s: "n" in s,
    "iterate": list,
    "len": len,
    "write": lambda s: s.__setitem__("n", 2),
    "delete": lambda s: s.__delitem__("n"),
    "clear": lambda s: s.clear(),
    "update": lambda s: s.update(n=2),
    "id": lambda s: s.id,
    "key": lambda s: s.key,
    "cookie": lambda s: s.cookie,
    "is_new": lambda s: s.is_new,
    "owner": lambda s: s.owner,
    "created_at": lambda s: s.created_at,
    "expires_at": lambda s: s.expires_at,
    "authenticated_at": lambda s: s.authenticated_at,
    "regenerate": lambda s: s.regenerate(),
    "login": lambda s: s.login("ann"),
    "touch": lambda s: s.touch(),
    "flash": lambda s: s.flash("x"),
    "flashes": lambda s: s.flashes(),
    "increment": lambda s: s.increment("n"),
}


# contract 144
@pytest.mark.parametrize("use", DESTROYED.values(), ids=DESTROYED)
@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("looked", [True, False])
def test_any_use_of_a_destroyed_session_is_an_error(native: Make, use: Any, *, existing: bool, looked: bool) -> None:
    world = native()
    client = world.session(n=1) if existing else world.client

    def handle(ctx: Ctx) -> None:
        if looked:
            dict(ctx.session)
        ctx.session.destroy()
        with pytest.raises(SessionDestroyed):
            use(ctx.session)

    answer = client.get(handle)
    assert answer.status == 200 and answer.writes == (["delete"] if existing else [])
    assert world.stored() == {}


# contract 144
@pytest.mark.parametrize("end", ["destroy", "logout"])
def test_destroying_twice_deletes_once(make: Make, end: str) -> None:
    world = make()
    client = world.session(n=1)
    answer = client.get(lambda ctx: (ctx.session.destroy(), getattr(ctx.session, end)()))
    assert answer.writes == ["delete"] and answer.the_cookie.is_expired


def test_deep_copies_of_values_are_the_apps_own(make: Make) -> None:
    world = make(touch_after=3600)
    client = world.session(n={"x": [1]})

    def use(ctx: Ctx) -> None:
        copy.deepcopy(dict(ctx.session))["n"]["x"].append(2)

    assert client.get(use).writes == []
