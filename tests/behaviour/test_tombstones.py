"""Fixation, renewal, and the browser's parallel requests: an id regenerated a moment ago."""

from __future__ import annotations

from typing import Any

import pytest

from tests.behaviour.harness import Client, Ctx, Make, put, read

TOMBSTONE = 30_000


def login_second(ctx: Ctx) -> None:
    ctx.session.login("ann", keep_data=True)
    ctx.session["second"] = True


def login(ctx: Ctx) -> None:
    ctx.session.login("ann", keep_data=True)


@pytest.mark.parametrize(
    "act",
    [
        read,
        put(n=2),
        lambda ctx: ctx.session.touch(),
        lambda ctx: ctx.session.flash("x"),
        lambda ctx: setattr(ctx.session.cookie, "max_age", 60),
    ],
)
@pytest.mark.parametrize(
    "options", [{}, {"save_uninitialized": True, "resave": True, "rolling": True, "touch_after": 0}]
)
def test_a_request_with_the_old_id_is_anonymous_saves_nothing_and_sets_no_cookie(
    native: Make, act: Any, options: dict[str, Any]
) -> None:
    world = native(**options)
    client = world.plant({"n": 1})
    old = client.copy()
    new_id = client.get(login).id
    before = world.stored()
    answer = old.get(lambda ctx: (dict(ctx.session), ctx.session.is_new, ctx.session.owner, act(ctx)))
    assert answer.seen[:3] == ({}, True, None)
    assert answer.cookie is None and answer.ops == ["load"] and world.stored() == before
    assert client.get(read).seen == {"n": 1} and world.data(new_id) == {"n": 1}


@pytest.mark.parametrize("act", [login, lambda ctx: (ctx.session.regenerate(), ctx.session.update(n=5))])
def test_a_request_with_the_old_id_may_log_in_or_regenerate_itself(native: Make, act: Any) -> None:
    world = native()
    client = world.plant({"n": 1})
    old = client.copy()
    first = client.get(login).id
    answer = old.get(act)
    assert answer.writes == ["create"] and answer.id not in ("planted", first)
    assert len(world.stored()) == 2


def test_a_double_clicked_login_works_when_both_have_loaded_before_either_commits(make: Make) -> None:
    world = make()
    client = world.plant({"cart": [1]})
    other = client.copy()

    async def first(ctx: Ctx) -> Any:
        login(ctx)
        ctx.session["first"] = True
        return await other.ask(login_second)

    answer = client.get(first)
    inner = answer.seen
    assert answer.status == inner.status == 200 and answer.id != inner.id
    assert world.data(inner.id) == {"cart": [1], "second": True}
    assert world.data(answer.id) == {"first": True}, "what was regenerated meanwhile carries no old data"
    for tab in (client, other):
        assert tab.get(lambda ctx: ctx.session.owner).seen == "ann"
    assert world.record("planted") is None


def test_a_parallel_change_under_the_old_id_does_not_clobber_the_new_session(make: Make) -> None:
    world = make()
    client = world.plant({"n": 1})

    async def slow(ctx: Ctx) -> str:
        ctx.session["n"] = 2
        return (await client.ask(login)).id

    answer = client.copy().get(slow)
    assert answer.status == 200 and answer.cookie is None
    assert world.data(answer.seen) == {"n": 1} and len(world.stored()) == 1


@pytest.mark.parametrize(("after", "replaced"), [(0, True), (TOMBSTONE - 1, True), (TOMBSTONE, False)])
def test_a_tombstone_lasts_half_a_minute(native: Make, after: int, *, replaced: bool) -> None:
    world = native()
    client = world.plant({"n": 1})
    old = client.copy()
    client.get(login)
    world.clock.advance(after)
    answer = old.get(put(n=2))
    assert (answer.cookie is None) is replaced
    assert answer.writes == ([] if replaced else ["create"])


def test_there_are_no_tombstones_in_the_express_profile(expressive: Make) -> None:
    world = expressive()
    client = world.plant({"n": 1})
    old = client.copy()
    client.get(login)
    assert old.get(put(n=2)).writes == ["create"]


def test_a_live_session_beside_a_replaced_id_counts(native: Make) -> None:
    world = native()
    client = world.plant({"n": 1})
    header = client.cookie_header("/", secure=False)
    client.get(login)
    both = f"{header}; {client.cookie_header('/', secure=False)}"
    assert Client(world).get(read, cookies=both).seen == {"n": 1}


def test_a_destroyed_session_leaves_no_tombstone(native: Make) -> None:
    world = native()
    client = world.plant({"n": 1})
    old = client.copy()
    client.get(lambda ctx: ctx.session.destroy())
    answer = old.get(put(n=2))
    assert answer.writes == ["create"] and answer.id != "planted"


# -- login and logout ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [True, False])
def test_login_regenerates_and_notes_the_owner_and_the_time(make: Make, *, keep: bool) -> None:
    world = make()
    client = world.plant({"cart": [1]})
    world.clock.advance(1234)
    at = world.clock()

    def handle(ctx: Ctx) -> None:
        ctx.session.login("ann", keep_data=keep)

    answer = client.get(handle)
    assert answer.writes == ["regenerate"] and answer.id != "planted" and world.record("planted") is None
    assert world.data(answer.id) == ({"cart": [1]} if keep else {})
    assert world.store.kept.by_owner("ann") == [world.key(answer.id)]
    world.clock.advance(1000)
    seen = client.get(lambda ctx: (ctx.session.owner, ctx.session.authenticated_at.timestamp() * 1000)).seen
    assert seen == ("ann", at)


def test_an_owner_stays_through_later_changes_and_a_regenerate_that_keeps_data(make: Make) -> None:
    world = make()
    client = world.client
    client.get(lambda ctx: ctx.session.login("ann"))
    client.get(put(n=1))
    answer = client.get(lambda ctx: ctx.session.regenerate(keep_data=True))
    assert client.get(lambda ctx: (ctx.session.owner, ctx.session["n"])).seen == ("ann", 1)
    assert world.store.kept.by_owner("ann") == [world.key(answer.id)]


def test_a_regenerate_without_data_forgets_the_owner(make: Make) -> None:
    world = make()
    client = world.client
    client.get(lambda ctx: ctx.session.login("ann"))
    client.get(lambda ctx: (ctx.session.regenerate(), ctx.session.update(n=1)))
    assert client.get(lambda ctx: (ctx.session.owner, ctx.session.authenticated_at)).seen == (None, None)
    assert world.store.kept.by_owner("ann") == []


@pytest.mark.parametrize("owner", ["", None, 5, b"ann"])
def test_an_owner_is_a_text(make: Make, owner: Any) -> None:
    world = make()
    client = world.plant({"n": 1})

    def handle(ctx: Ctx) -> None:
        with pytest.raises(TypeError, match="owner"):
            ctx.session.login(owner)

    answer = client.get(handle)
    assert answer.cookie is None and world.data("planted") == {"n": 1}


def test_a_login_by_another_takes_the_session_over(make: Make) -> None:
    world = make()
    client = world.client
    client.get(lambda ctx: ctx.session.login("ann"))
    client.get(lambda ctx: ctx.session.login("bob"))
    assert client.get(lambda ctx: ctx.session.owner).seen == "bob"
    assert world.store.kept.by_owner("ann") == [] and len(world.stored()) == 1
