"""What else the browser is to forget where a session ends: ``Clear-Site-Data`` (W3C Clear Site Data), over both protocols."""

from __future__ import annotations

from typing import Any

import pytest

from tests.behaviour.harness import Client, Ctx, Make, put, read

NAME = "Clear-Site-Data"


def logged_in(make: Make, **options: Any) -> Client:
    world = make(**{"clear_site_data": ("cache", "storage"), **options})
    client = Client(world)
    assert client.get(put(user="ann"), scheme="https").header(NAME) == []
    return client


def logout(ctx: Ctx) -> None:
    ctx.session.logout()


ENDINGS: dict[str, Any] = {
    "logout": logout,
    "invalidate": lambda ctx: ctx.session.invalidate(),
    "login, logout": lambda ctx: (ctx.session.login("eve"), ctx.session.logout()),
    "regenerate, invalidate": lambda ctx: (ctx.session.regenerate(), ctx.session.invalidate()),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_it_goes_with_the_cookie_that_is_expired(make: Make, ending: str) -> None:
    answer = logged_in(make).get(ENDINGS[ending], scheme="https")
    assert answer.the_cookie.is_expired
    assert answer.header(NAME) == ['"cache", "storage"']
    assert answer.headers[-1][0].lower() == "set-cookie"  # the last, as always


def test_so_it_does_where_a_save_carried_the_logout_out_already(make: Make) -> None:
    client = logged_in(make)

    async def handle(ctx: Ctx) -> None:
        ctx.session.logout()
        await ctx.save()

    answer = client.get(handle, scheme="https")
    assert answer.the_cookie.is_expired and answer.header(NAME) == ['"cache", "storage"']


def test_over_http_browsers_would_not_heed_it(make: Make) -> None:
    world = make(clear_site_data=["cache"])
    client = Client(world)
    client.get(put(user="ann"))
    answer = client.get(logout)
    assert answer.the_cookie.is_expired and answer.header(NAME) == []


def test_behind_a_proxy_it_is_the_browsers_own_connection_that_counts(make: Make) -> None:
    world = make(clear_site_data=["cache"], trust_proxy=True)
    client = Client(world)
    https: dict[str, Any] = {"browser_https": True, "headers": [("X-Forwarded-Proto", "https")]}
    client.get(put(user="ann"), **https)
    assert client.get(logout, **https).header(NAME) == ['"cache"']


@pytest.mark.parametrize("name", [NAME, "clear-site-data"])
def test_the_applications_own_stands(make: Make, name: str) -> None:
    client = logged_in(make)

    def handle(ctx: Ctx) -> None:
        ctx.session.logout()
        ctx.headers.append((name, '"*"'))

    assert client.get(handle, scheme="https").header(NAME) == ['"*"']


GOING_ON: dict[str, Any] = {
    "a look": read,
    "a login": lambda ctx: ctx.session.login("ann"),
    "a logout that goes on with a new session": lambda ctx: (ctx.session.invalidate(), ctx.session.flash("Bye.")),
}


@pytest.mark.parametrize("what", GOING_ON)
def test_what_expires_no_cookie_clears_nothing(make: Make, what: str) -> None:
    assert logged_in(make).get(GOING_ON[what], scheme="https").header(NAME) == []


def test_there_is_nothing_to_clear_for_who_brought_no_session(make: Make) -> None:
    assert Client(make(clear_site_data=["*"])).get(logout, scheme="https").header(NAME) == []


def test_by_default_it_is_not_sent(make: Make) -> None:
    assert logged_in(make, clear_site_data=()).get(logout, scheme="https").header(NAME) == []


def test_where_the_logout_fails_the_browser_keeps_what_it_has(make: Make) -> None:
    client = logged_in(make)
    client.world.store.fail("delete")
    answer = client.get(logout, scheme="https")
    assert answer.status == 503 and answer.header(NAME) == []
