"""How a session ends (design), over both protocols: which ids, in which order, and what becomes of the object and of the response."""

from __future__ import annotations

import enum
from typing import Any

import pytest

from sojourn import HeadersAlreadySent, SessionDestroyed
from tests.behaviour.harness import Client, Ctx, Make, World, put, read, sign


class Marker(enum.Enum):
    EMPTY = 0


def two(world: World) -> tuple[Client, Client, str]:
    """Two live sessions, and a Cookie header with both: one of another, planted in front of the visitor's own."""
    first, second = world.session(evil=1), Client(world)
    second.get(put(user="ann"))
    name = world.name
    return first, second, "; ".join(f"{name}={client.jar[name].value}" for client in (first, second))


def logout(ctx: Ctx) -> None:
    ctx.session.logout()


def clear(ctx: Ctx) -> None:
    ctx.session.invalidate()


def empty(ctx: Ctx) -> None:
    ctx.session = Marker.EMPTY


def unset(ctx: Ctx) -> None:
    ctx.session = None


def login_and_unset(ctx: Ctx) -> None:
    ctx.session.login("eve")
    ctx.session = None


ENDINGS: dict[str, Any] = {
    "logout": logout,
    "invalidate": clear,
    "login, logout": lambda ctx: (ctx.session.login("eve"), ctx.session.logout()),
    "regenerate, destroy": lambda ctx: (ctx.session.regenerate(), ctx.session.destroy()),
    "invalidate, logout": lambda ctx: (ctx.session.invalidate(), ctx.session.logout()),
    "login, invalidate": lambda ctx: (ctx.session.login("eve"), ctx.session.invalidate()),
    "None": unset,
    "enum": empty,
    "login, None": login_and_unset,
}


NEEDS_A_LOAD = ("login, logout", "regenerate, destroy", "login, invalidate", "login, None")
"""A session is loaded before it is regenerated."""


@pytest.mark.parametrize(
    ("mode", "ending"),
    [
        (mode, ending)
        for mode in ("eager", "lazy", "down")
        for ending in ENDINGS
        if mode == "eager" or ending not in NEEDS_A_LOAD
    ],
)
def test_an_ending_ends_every_rightly_signed_id_that_the_request_brought(native: Make, ending: str, mode: str) -> None:
    world = native(lazy=mode == "lazy", on_store_error="anonymous")
    first, second, both = two(world)
    if mode == "down":
        world.store.fail("load")
    answer = world.client.get(lambda ctx: (ENDINGS[ending](ctx), world.store.fail())[1], cookies=both)
    assert answer.status == 200 and answer.the_cookie.is_expired
    assert world.stored() == {} and answer.writes == ["delete"]
    for client in (first, second):
        assert client.get(lambda ctx: ctx.session.is_new if mode != "lazy" else True).seen is True


def test_a_cookie_that_was_verified_before_opens_nothing_once_its_session_has_ended(native: Make) -> None:
    world = native()
    client = world.session(user="ann")
    cookie = f"{world.name}={client.jar[world.name].value}"
    for _ in range(2):
        assert client.get(read, cookies=cookie).seen == {"user": "ann"}
    client.get(logout)
    assert client.get(read, cookies=cookie).seen == {}


@pytest.mark.parametrize("do", ["login, logout", "regenerate, destroy"])
def test_a_logout_after_a_failed_load_ends_the_id_that_came(native: Make, do: str) -> None:
    world = native(on_store_error="anonymous")
    client = world.session(user="ann")
    old = client.copy()
    world.store.fail("load")
    assert client.get(lambda ctx: (ENDINGS[do](ctx), world.store.fail())[1]).status == 200
    assert world.stored() == {} and old.get(read).seen == {}


@pytest.mark.parametrize("unset_mode", ["destroy", "keep"])
def test_an_enum_member_in_its_place_ends_it_whatever_unset_says(native: Make, unset_mode: str) -> None:
    world = native(unset=unset_mode)
    client = world.session(user="ann")
    assert client.get(empty).the_cookie.is_expired and world.stored() == {}


def test_regenerate_and_then_none_under_keep_ends_the_old_id(native: Make) -> None:
    world = native(unset="keep")
    client = world.session(user="ann")
    old = client.copy()
    client.get(login_and_unset)
    assert world.stored() == {} and old.get(read).seen == {}


def test_a_logout_in_another_tab_during_a_login_ends_the_new_session(native: Make) -> None:
    world = native()
    client = world.session(cart=1)
    other = client.copy()

    async def login(ctx: Ctx) -> Any:
        ctx.session.login("ann", keep_data=True)
        return None

    assert client.get(login).status == 200
    assert other.get(logout).the_cookie.is_expired
    assert world.stored() == {} and client.get(read).seen == {}


def test_an_invalidated_session_that_is_written_to_goes_on_in_one_step_under_a_new_id(native: Make) -> None:
    world = native()
    _first, second, _both = two(world)
    old = second.copy()
    answer = second.get(lambda ctx: (ctx.session.clear(), ctx.session.update(user="bob"), ctx.session.owner)[2])
    assert answer.writes == ["regenerate"] and answer.seen is None
    assert second.get(read).seen == {"user": "bob"} and old.get(read).seen == {}


def test_an_invalidated_session_is_empty_nobodys_and_new(native: Make) -> None:
    world = native()
    client = world.client
    client.get(lambda ctx: (ctx.session.login("ann"), ctx.session.update(n=1))[1])

    def handle(ctx: Ctx) -> Any:
        before = ctx.session.id
        ctx.session.invalidate()
        return dict(ctx.session), ctx.session.owner, ctx.session.is_new, ctx.session.id != before

    assert client.get(handle).seen == ({}, None, True, True)


def test_a_destroyed_session_is_dead(native: Make) -> None:
    def handle(ctx: Ctx) -> None:
        ctx.session.destroy()
        for method in ("keys", "regenerate", "invalidate", "clear", "touch"):
            with pytest.raises(SessionDestroyed):
                getattr(ctx.session, method)()

    native().session(n=1).get(handle)


def test_after_the_headers_an_ending_deletes_and_the_next_write_says_what_to_do(native: Make) -> None:
    world = native()
    client = world.session(user="ann")

    async def handle(ctx: Ctx) -> None:
        await ctx.write(b"first")
        ctx.session.clear()
        with pytest.raises(HeadersAlreadySent, match=r"del session\[key\]"):
            ctx.session["user"] = "bob"
        with pytest.raises(HeadersAlreadySent):
            ctx.session.login("bob")

    answer = client.get(handle)
    assert answer.status == 200 and answer.cookie is None and world.stored() == {}


@pytest.mark.parametrize("ending", [logout, clear])
def test_where_the_handler_raises_the_endings_are_carried_out_and_nothing_is_stored(native: Make, ending: Any) -> None:
    world = native()
    client = world.session(user="ann")

    def handle(ctx: Ctx) -> None:
        ending(ctx)
        raise RuntimeError("a fault of the application")

    client.get(handle, may_fail=True)
    assert world.stored() == {}


def test_a_value_that_cannot_be_stored_does_not_save_the_session_from_its_logout(native: Make) -> None:
    world = native()
    client = world.session(user="ann")
    client.get(lambda ctx: (ctx.session.clear(), ctx.session.update(x=object()))[1], may_fail=True)
    assert world.stored() == {}


@pytest.mark.parametrize("ending", [logout, clear])
def test_an_ending_that_fails_is_a_503_whatever_is_configured(native: Make, ending: Any) -> None:
    world = native(on_store_error="anonymous")
    client = world.session(user="ann")
    world.store.fail("delete")
    assert client.get(ending).status == 503
    world.store.fail()
    assert client.get(read).seen == {"user": "ann"}


def test_in_the_express_profile_clear_keeps_id_and_record(expressive: Make) -> None:
    world = expressive()
    client = world.session(n=1)
    answer = client.get(lambda ctx: ctx.session.clear())
    assert answer.writes == ["replace"] and client.get(lambda ctx: (dict(ctx.session), ctx.session.is_new)).seen == (
        {},
        False,
    )


def test_beyond_16_candidates_the_rest_is_ignored_with_one_warning(
    native: Make, caplog: pytest.LogCaptureFixture
) -> None:
    world = native()
    client = world.session(n=1)
    own = f"{world.name}={client.jar[world.name].value}"
    junk = "; ".join(f"{world.name}=junk{number}" for number in range(15))
    assert world.client.get(read, cookies=f"{junk}; {own}").seen == {"n": 1}
    assert world.client.get(read, cookies=f"{junk}; {world.name}=one-more; {own}").seen == {}
    assert [record for record in caplog.records if "more than 16" in record.getMessage()]


def test_a_logout_ends_ids_that_are_beyond_those_that_are_looked_up(native: Make) -> None:
    world = native()
    ids = [f"id-{number}-of-many" for number in range(12)]
    for session_id in ids:
        world.plant({"n": 1}, session_id=session_id)
    header = "; ".join(f"{world.name}={sign(session_id, world.profile)}" for session_id in ids)
    world.client.get(logout, cookies=header)
    assert world.stored() == {}


# -- the response and the slot --------------------------------------------------------------------------------------------


def test_the_applications_messages_and_header_lists_are_not_changed(native: Make) -> None:
    world = native()
    given: list[tuple[str, str]] = [("Content-Type", "text/plain"), ("X-Own", "1")]

    def handle(ctx: Ctx) -> None:
        ctx.session["n"] = 1
        ctx.headers = given

    assert world.get(handle).cookie is not None
    assert given == [("Content-Type", "text/plain"), ("X-Own", "1")]
