"""Express contract, section 12: methods."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from sojourn import Cookie, SessionDestroyed, SessionNotFound, StoreUnavailable
from tests.behaviour.harness import HOUR, MINUTE, Client, Ctx, Make, World, put, read


def planted(world: World, **data: Any) -> Client:
    return world.plant(data or {"n": 1})


# contract 142, 143, 166
@pytest.mark.parametrize("end", ["destroy", "logout"])
@pytest.mark.parametrize("look", [True, False])
def test_destroy_deletes_the_record_once_and_expires_the_cookie(make: Make, end: str, *, look: bool) -> None:
    world = make(resave=True, rolling=True, save_uninitialized=True, touch_after=0)
    client = planted(world)

    def handle(ctx: Ctx) -> None:
        if look:
            ctx.session["n"] = 2
        getattr(ctx.session, end)()

    answer = client.get(handle)
    assert answer.status == 200 and answer.ops == ["load", "delete"] and world.stored() == {}
    assert answer.the_cookie.is_expired and answer.the_cookie["path"] == "/"
    assert client.jar == {}


# contract 142
@pytest.mark.parametrize(
    "options", [{"path": "/app"}, {"domain": "example.com"}, {"secure": True}, {"partitioned": True}]
)
def test_the_cookie_is_expired_with_the_attributes_it_was_set_with(make: Make, options: dict[str, Any]) -> None:
    world = make(cookie=Cookie(**options))
    set_ = world.get(put(n=1), "/app", scheme="https").the_cookie
    expired = world.get(lambda ctx: ctx.session.destroy(), "/app", scheme="https").the_cookie
    assert expired.is_expired and expired.name == set_.name
    for name in ("path", "domain", "secure", "partitioned"):
        assert expired[name] == set_[name]


# contract 142
def test_the_cookie_is_expired_at_the_path_this_session_had_it_at(make: Make) -> None:
    world = make()

    def begin(ctx: Ctx) -> None:
        ctx.session["n"] = 1
        ctx.session.cookie.path = "/app"

    world.get(begin, "/app")
    assert "/app" in {cookie["path"] for cookie in world.client.jar.values()}
    answer = world.get(lambda ctx: (dict(ctx.session), ctx.session.destroy()), "/app")
    assert answer.the_cookie.is_expired and answer.the_cookie["path"] == "/app"


# contract 142
@pytest.mark.parametrize("first", ["nothing", "read", "regenerate", "save"])
def test_the_cookie_is_expired_where_the_browser_has_it_whatever_changed_since(make: Make, first: str) -> None:
    world = make()

    def begin(ctx: Ctx) -> None:
        ctx.session["n"] = 1
        ctx.session.cookie.path = "/app"

    world.get(begin, "/app")

    async def handle(ctx: Ctx) -> None:
        if first == "read":
            dict(ctx.session)
        elif first == "regenerate":
            ctx.session.regenerate()
        elif first == "save":
            await ctx.save()
        ctx.session.cookie.path = "/app/elsewhere"
        ctx.session.destroy()

    answer = world.get(handle, "/app")
    assert answer.the_cookie.is_expired and answer.the_cookie["path"] == "/app" and world.stored() == {}


# contract 142
def test_destroying_what_was_never_stored_does_nothing(make: Make) -> None:
    world = make(save_uninitialized=True)
    answer = world.get(lambda ctx: (ctx.session.update(n=1), ctx.session.destroy()))
    assert answer.status == 200 and answer.writes == [] and answer.cookie is None


# contract 142
def test_a_destroy_ends_what_the_request_brought_and_expires_the_cookie_though_nothing_was_found(make: Make) -> None:
    world = make(save_uninitialized=True)
    answer = Client(world).holding("dead").get(lambda ctx: (ctx.session.update(n=1), ctx.session.destroy()))
    assert answer.status == 200 and answer.writes == ["delete"] and answer.the_cookie.is_expired


# contract 144
def test_a_destroyed_session_is_not_saved_again_by_a_reference_kept(make: Make) -> None:
    world = make()
    client = planted(world)

    async def handle(ctx: Ctx) -> None:
        held = ctx.session
        held.destroy()
        await ctx.save()
        with pytest.raises(SessionDestroyed):
            held["n"] = 2
        await ctx.save()

    answer = client.get(handle)
    assert answer.writes == ["delete"] and world.stored() == {} and answer.the_cookie.is_expired


# contract 160
@pytest.mark.parametrize("act", [put(n=2), read, lambda ctx: ctx.session.touch()])
@pytest.mark.parametrize("options", [{}, {"resave": True}, {"touch_after": 0}, {"rolling": True}])
def test_a_concurrent_request_does_not_bring_a_destroyed_session_back(
    make: Make, act: Any, options: dict[str, Any]
) -> None:
    world = make(**options)
    client = planted(world)

    async def handle(ctx: Ctx) -> None:
        act(ctx)
        other = await client.copy().ask(lambda inner: inner.session.destroy())
        assert other.the_cookie.is_expired

    answer = client.copy().get(handle)
    assert answer.status == 200 and world.stored() == {}
    assert answer.cookie is None or options == {"rolling": True}


# contract 160
def test_a_lost_change_of_a_destroyed_session_is_in_the_log(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    world = make()
    client = planted(world)

    async def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 2
        await client.copy().ask(lambda inner: inner.session.destroy())

    answer = client.copy().get(handle)
    assert answer.cookie is None
    assert any("ended while a request was changing it" in record.getMessage() for record in caplog.records)


# contract 145, 146
@pytest.mark.parametrize("keep", [True, False])
def test_regenerate_gives_a_new_id_and_ends_the_old_record(make: Make, *, keep: bool) -> None:
    world = make()
    client = planted(world, n=1)

    def handle(ctx: Ctx) -> tuple[Any, ...]:
        old = ctx.session.id
        ctx.session.regenerate(keep_data=keep)
        before = dict(ctx.session)
        ctx.session["m"] = 2
        return old, ctx.session.id, before, ctx.session.is_new

    answer = client.get(handle)
    assert answer.seen[0] == "planted" and answer.seen[1] == answer.id != "planted"
    assert answer.seen[2] == ({"n": 1} if keep else {}) and answer.seen[3] is True
    assert answer.ops == ["load", "regenerate"], "one write"
    assert world.record("planted") is None
    assert world.data(answer.id) == ({"n": 1, "m": 2} if keep else {"m": 2})
    assert client.get(read).seen == world.data(answer.id)


# contract 145
@pytest.mark.parametrize("save_uninitialized", [True, False])
def test_regenerate_to_an_empty_session_ends_the_old_one(make: Make, *, save_uninitialized: bool) -> None:
    world = make(save_uninitialized=save_uninitialized)
    answer = planted(world).get(lambda ctx: ctx.session.regenerate())
    assert world.record("planted") is None
    assert len(world.stored()) == save_uninitialized
    assert answer.writes == (["regenerate"] if save_uninitialized else ["delete"])
    assert (answer.cookie is not None) is save_uninitialized


# contract 145
def test_regenerating_a_new_session_creates_one(make: Make) -> None:
    world = make()
    answer = world.get(lambda ctx: (ctx.session.id, ctx.session.regenerate(), ctx.session.update(n=1), ctx.session.id))
    assert answer.writes == ["create"] and answer.seen[0] != answer.seen[3] == answer.id


# contract 145
def test_regenerating_what_save_stored_to_an_empty_session_sends_no_cookie_of_either(make: Make) -> None:
    world = make()

    async def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 1
        await ctx.save()
        ctx.session.regenerate()

    answer = world.get(handle)
    assert answer.writes == ["create", "delete"] and answer.cookie is None and world.stored() == {}


# contract 145, 160
@pytest.mark.parametrize("keep", [True, False])
def test_regenerating_after_a_save_found_the_session_ended_begins_a_new_one(make: Make, *, keep: bool) -> None:
    world = make()
    client = planted(world)

    async def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 2
        await client.copy().ask(lambda inner: inner.session.destroy())
        with pytest.raises(SessionNotFound):
            await ctx.save()
        ctx.session.regenerate(keep_data=keep)
        ctx.session["user"] = "ann"

    answer = client.copy().get(handle)
    assert world.data(answer.id) == ({"n": 2, "user": "ann"} if keep else {"user": "ann"})


# contract 145
def test_regenerating_twice_is_one_write(make: Make) -> None:
    world = make()
    answer = planted(world).get(lambda ctx: [ctx.session.regenerate(keep_data=True) for _ in range(2)])
    assert answer.writes == ["regenerate"] and list(world.stored()) == [world.key(answer.id)]


# contract 145, 143
def test_regenerate_then_destroy_ends_the_old_session(make: Make) -> None:
    world = make()
    client = planted(world)
    answer = client.get(lambda ctx: (ctx.session.regenerate(keep_data=True), ctx.session.destroy()))
    assert answer.writes == ["delete"] and world.stored() == {} and answer.the_cookie.is_expired


# contract 146
@pytest.mark.parametrize("keep", [True, False])
def test_a_sessions_own_lifetime_and_age_move_along_with_its_data(make: Make, *, keep: bool) -> None:
    world = make(cookie=Cookie(max_age=3600, secure=False), absolute_timeout=7200)
    client = Client(world)
    begun = world.clock()

    def begin(ctx: Ctx) -> None:
        ctx.session["n"] = 1
        ctx.session.cookie.max_age = 600

    client.get(begin)
    world.clock.advance(5 * MINUTE)
    answer = client.get(
        lambda ctx: (
            ctx.session.regenerate(keep_data=keep),
            ctx.session.update(m=1),
            ctx.session.created_at.timestamp(),
        )
    )
    assert world.ttl(answer.id) == (10 * MINUTE if keep else HOUR)
    assert answer.the_cookie.expires == world.clock() + (10 * MINUTE if keep else HOUR)
    assert answer.seen[2] * 1000 == (begun if keep else world.clock())


# contract 147
@pytest.mark.parametrize("on_store_error", ["fail", "anonymous"])
@pytest.mark.parametrize("act", ["regenerate", "destroy", "login", "empty"])
def test_a_failed_regenerate_or_destroy_fails_whole(make: Make, on_store_error: Any, act: str) -> None:
    world = make(on_store_error=on_store_error)
    client = planted(world, user="ann")
    acts: dict[str, Any] = {
        "regenerate": lambda ctx: ctx.session.regenerate(keep_data=True),
        "destroy": lambda ctx: ctx.session.destroy(),
        "login": lambda ctx: ctx.session.login("ann"),
        "empty": lambda ctx: ctx.session.regenerate(),
    }
    world.store.fail("regenerate", "delete", "create")
    answer = client.get(acts[act])
    assert answer.status == 503 and answer.cookie is None and b"ok" not in answer.body
    world.store.failing = {}
    assert client.get(read).seen == {"user": "ann"}


# contract 148
def test_regenerate_and_an_explicit_save_are_one_write(make: Make) -> None:
    world = make(touch_after=3600)
    client = planted(world)

    async def handle(ctx: Ctx) -> str:
        ctx.session.regenerate(keep_data=True)
        await ctx.save()
        return str(ctx.session.id)

    answer = client.get(handle)
    assert answer.writes == ["regenerate"] and answer.id == answer.seen
    assert answer.timeline[-2:] == ["start", "body"]


# contract 149, 152
def test_reload_brings_in_anothers_write_and_discards_ones_own(make: Make) -> None:
    world = make(touch_after=3600)
    client = planted(world, n=1)

    async def handle(ctx: Ctx) -> Any:
        held = ctx.session
        held.update(n=5, mine=True)
        await client.copy().ask(put(n=2, theirs=True))
        await ctx.reload()
        return ctx.session is held, dict(held), held.id

    answer = client.get(handle)
    assert answer.seen == (True, {"n": 2, "theirs": True}, "planted")
    assert answer.writes == ["replace"], "theirs alone"


# contract 150, 151
@pytest.mark.parametrize("end", ["destroyed", "expired", "never stored"])
def test_reload_of_a_missing_record_is_an_error_and_changes_nothing(make: Make, end: str) -> None:
    world = make(idle_timeout=60)
    client = world.session(n=1) if end != "never stored" else world.client

    async def handle(ctx: Ctx) -> Any:
        ctx.session["mine"] = True
        if end == "destroyed":
            await client.copy().ask(lambda inner: inner.session.destroy())
        elif end == "expired":
            world.clock.advance(MINUTE)
        for _ in range(3):
            with pytest.raises(SessionNotFound):
                await ctx.reload()
        return dict(ctx.session)

    answer = client.get(handle)
    assert answer.seen["mine"] is True
    assert (
        answer.writes == {"destroyed": ["delete", "replace"], "expired": ["replace"], "never stored": ["create"]}[end]
    )


# contract 150
def test_reload_of_a_regenerated_elsewhere_session_is_an_error(make: Make) -> None:
    world = make()
    client = planted(world)

    async def handle(ctx: Ctx) -> None:
        await client.copy().ask(lambda inner: inner.session.regenerate(keep_data=True))
        with pytest.raises(SessionNotFound):
            await ctx.reload()

    assert client.copy().get(handle).status == 200


# contract 150
def test_reload_of_a_destroyed_session_is_an_error(make: Make) -> None:
    world = make()

    async def handle(ctx: Ctx) -> None:
        ctx.session.destroy()
        with pytest.raises(SessionDestroyed):
            await ctx.reload()

    assert planted(world).get(handle).writes == ["delete"]


# contract 149
def test_reload_takes_back_a_regenerate(make: Make) -> None:
    world = make(touch_after=3600)

    async def handle(ctx: Ctx) -> Any:
        ctx.session.regenerate()
        with pytest.raises(SessionNotFound):
            await ctx.reload()
        return dict(ctx.session)

    answer = planted(world).get(handle)
    assert answer.seen == {}
    assert world.record("planted") is None


# contract 149
def test_a_store_that_fails_in_reload_is_the_apps_to_handle(make: Make) -> None:
    world = make(touch_after=3600)

    async def handle(ctx: Ctx) -> None:
        world.store.fail("load")
        with pytest.raises(StoreUnavailable):
            await ctx.reload()
        world.store.failing = {}

    answer = planted(world).get(handle)
    assert answer.status == 200 and answer.body == b"ok"


# contract 153, 157
@pytest.mark.parametrize("existing", [True, False])
def test_after_save_the_record_can_be_read(make: Make, *, existing: bool) -> None:
    world = make()
    client = planted(world) if existing else world.client

    async def handle(ctx: Ctx) -> Any:
        ctx.session["m"] = 2
        await ctx.save()
        return world.data(ctx.session.id), (await ctx.sessions("get", ctx.session.id))["m"]

    answer = client.get(handle)
    assert answer.seen == ({"n": 1, "m": 2} if existing else {"m": 2}, 2)
    assert answer.timeline.index("replace" if existing else "create") < answer.timeline.index("start")
    assert (answer.cookie is None) is existing


# contract 154
@pytest.mark.parametrize("existing", [True, False])
def test_save_after_a_reload_and_then_the_end_is_one_write(make: Make, *, existing: bool) -> None:
    world = make(touch_after=3600)
    client = planted(world) if existing else world.client

    async def handle(ctx: Ctx) -> None:
        ctx.session["a"] = 1
        await ctx.save()
        await ctx.reload()
        ctx.session["b"] = 2
        await ctx.save()

    answer = client.get(handle)
    assert answer.writes == ["replace", "replace"] if existing else ["create", "replace"]
    assert client.get(read).seen["b"] == 2


# contract 154
def test_saving_twice_without_a_change_writes_once(make: Make) -> None:
    world = make(touch_after=3600)

    async def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 2
        await ctx.save()
        await ctx.save()

    assert planted(world).get(handle).writes == ["replace"]


# contract 156
def test_a_save_error_is_the_apps_to_handle_and_the_end_tries_again(make: Make) -> None:
    world = make()
    client = planted(world)

    async def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 2
        world.store.fail("replace")
        with pytest.raises(StoreUnavailable):
            await ctx.save()
        world.store.failing = {}

    answer = client.get(handle)
    assert answer.status == 200 and answer.writes == ["replace", "replace"]
    assert world.data("planted") == {"n": 2}


# contract 156
def test_a_save_error_that_lasts_is_a_503_at_the_end(make: Make) -> None:
    world = make()

    async def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 2
        world.store.fail("replace")
        with pytest.raises(StoreUnavailable):
            await ctx.save()

    assert planted(world).get(handle).status == 503


# contract 158
def test_touch_moves_the_expiry_without_a_change(make: Make) -> None:
    world = make(idle_timeout=3600)
    client = world.session(n=1)
    session_id = next(iter(world.seen_ids))
    world.clock.advance(1000)
    assert client.get(lambda ctx: ctx.session.touch()).writes == ["touch"]
    assert world.ttl(session_id) == HOUR


# contract 159
def test_two_requests_that_change_different_keys_both_win(make: Make) -> None:
    world = make()
    client = planted(world, cart={"a": 1}, log=["0"], n=1, both=0, gone=1)

    async def handle(ctx: Ctx) -> None:
        session = ctx.session
        session["mine"] = 1
        session["both"] = "mine"
        session["cart"]["b"] = 2
        session["log"].append("mine")
        session.increment("n", 10)
        await client.copy().ask(theirs)

    def theirs(ctx: Ctx) -> None:
        session = ctx.session
        session["theirs"] = 1
        session["both"] = "theirs"
        session["cart"]["c"] = 3
        session["log"].append("theirs")
        session.increment("n", 100)
        del session["gone"]

    answer = client.get(handle)
    assert answer.ops == ["load", "load", "replace", "replace", "load", "replace"]
    assert world.data("planted") == {
        "cart": {"a": 1, "b": 2, "c": 3},
        "log": ["0", "theirs", "mine"],
        "n": 111,
        "both": "mine",
        "mine": 1,
        "theirs": 1,
    }


# contract 159
def test_a_regenerate_takes_anothers_concurrent_change_along(make: Make) -> None:
    world = make()
    client = planted(world, n=1)

    async def handle(ctx: Ctx) -> None:
        ctx.session.regenerate(keep_data=True)
        ctx.session["user"] = "ann"
        await client.copy().ask(put(cart=[1]))

    answer = client.get(handle)
    assert world.data(answer.id) == {"n": 1, "user": "ann", "cart": [1]} and world.record("planted") is None


# contract 159, 160
def test_a_regenerate_of_a_session_that_ended_carries_none_of_its_data(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    world = make()
    client = planted(world, secret="theirs")

    async def handle(ctx: Ctx) -> None:
        ctx.session.regenerate(keep_data=True)
        ctx.session["user"] = "ann"
        await client.copy().ask(lambda inner: inner.session.destroy())

    answer = client.copy().get(handle)
    assert world.data(answer.id) == {"user": "ann"} and len(world.stored()) == 1
    assert any(record.levelno >= logging.INFO and "had ended" in record.getMessage() for record in caplog.records)


# contract 159
def test_resave_alone_never_overwrites_anothers_change(make: Make) -> None:
    world = make(resave=True)
    client = planted(world, n=1)

    async def handle(ctx: Ctx) -> None:
        dict(ctx.session)
        await client.copy().ask(put(n=2))

    answer = client.get(handle)
    assert answer.status == 200 and world.data("planted") == {"n": 2}
    assert answer.writes == ["replace", "replace", "touch"]


# contract 160
def test_of_a_session_that_was_saved_and_ended_elsewhere_no_cookie_is_sent(make: Make) -> None:
    world = make()

    async def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 1
        await ctx.save()
        world.store.kept.clear()
        ctx.session["n"] = 2
        with pytest.raises(SessionNotFound):
            await ctx.save()

    answer = world.get(handle)
    assert answer.status == 200 and answer.cookie is None and world.stored() == {}


# contract 160
def test_save_of_a_session_that_ended_elsewhere_is_an_error(make: Make) -> None:
    world = make()
    client = planted(world)

    async def handle(ctx: Ctx) -> None:
        await client.copy().ask(lambda inner: inner.session.destroy())
        ctx.session["n"] = 2
        for _ in range(2):  # a second time as well: nothing of it is saved any more
            with pytest.raises(SessionNotFound):
                await ctx.save()
        ctx.session.destroy()
        await ctx.save()

    answer = client.copy().get(handle)
    assert answer.status == 200 and world.stored() == {}
