"""Logins: remembered, limited, in two steps, confirmed, bound to the password, ended by administrators and providers; in both colours."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest

from sojourn.clock import from_ms
from sojourn.cookie import Cookie
from sojourn.core import logins
from sojourn.core.limits import keep_limit
from sojourn.core.record import unpack
from sojourn.core.session import Session
from sojourn.core.state import Found, Intent
from sojourn.core.steps import Lock, Owned, Turn
from sojourn.core.store import Stored
from sojourn.errors import (
    ConfigurationError,
    HeadersAlreadySent,
    NoPendingLogin,
    NotLoggedIn,
    StoreError,
    StoreUnavailable,
)
from sojourn.ids import hash_id
from sojourn.middleware.drive import run
from sojourn.middleware.sync import SyncMiddleware
from tests.core.making import DAY, HOUR, NOW, OLD_SECRET, SECRET, begin
from tests.middleware.sites import IDS, Site, settle

pytestmark = pytest.mark.anyio
MINUTE = HOUR // 60


@pytest.fixture(params=["sync", "async"])
def colour(request) -> str:
    given: str = request.param
    return given


@pytest.fixture
def site(colour: str) -> Site:
    return Site(colour)


async def logged_in(site: Site, owner: str = "ann", session_id: str | None = None, **more: Any) -> str:
    """The id of a session that logged in now."""
    session = await site.request(session_id)
    session.login(owner, **more)
    await settle(session.save())
    new_id: str = session.id
    return new_id


async def live(site: Site, *ids: str) -> list[bool]:
    return [isinstance(site.store.load(site.settings.key_of(one)), Stored) for one in ids]


def record_of(site: Site, session_id: str) -> Any:
    found = site.store.load(site.settings.key_of(session_id))
    assert isinstance(found, Stored)
    return unpack(found.data)


# -- remembered, and fresh --------------------------------------------------------------------------------------------------------------


async def test_a_remembered_login_lives_long_and_is_not_fresh_until_it_is_confirmed(site: Site):
    first = await logged_in(site, remember=timedelta(days=20))
    session = await site.request(first)
    assert session.owner == "ann" and session.authenticated_at == from_ms(NOW)
    assert session.expires_at == from_ms(NOW + 20 * DAY) and session.cookie.max_age == 20 * 86_400
    assert session.confirmed_at is None and not session.is_fresh(timedelta(days=1))
    site.clock.advance(HOUR)
    session.confirm()
    await settle(session.save())
    assert session.confirmed_at == from_ms(NOW + HOUR) and session.is_fresh(timedelta(minutes=1))
    assert session.authenticated_at == from_ms(NOW) and session.cookie.original_max_age == 20 * 86_400
    assert session.id != first and await live(site, first, session.id) == [False, True]


async def test_a_login_is_fresh_for_as_long_as_one_likes(site: Site):
    session = await site.request(await logged_in(site))
    assert session.confirmed_at == session.authenticated_at == from_ms(NOW)
    site.clock.advance(15 * MINUTE)
    assert session.is_fresh(timedelta(minutes=15)) and session.is_fresh(900)
    site.clock.advance(1)
    assert not session.is_fresh(timedelta(minutes=15)) and session.is_fresh(timedelta(hours=1))


async def test_nobody_is_fresh_and_has_nothing_to_confirm(site: Site):
    session = await site.request(None)
    assert not session.is_fresh(timedelta(days=1)) and session.confirmed_at is None
    with pytest.raises(NotLoggedIn):
        session.confirm()


@pytest.mark.parametrize("remember", [0, -1, timedelta(days=31), "1 day"])
async def test_what_cannot_be_remembered_is_refused_and_changes_nothing(remember: Any, site: Site):
    session = await site.request(None)
    with pytest.raises(ConfigurationError, match="remember"):
        session.login("ann", remember=remember)
    assert session.owner is None and session._state.intent is Intent.NONE


async def test_without_an_absolute_timeout_a_login_may_be_remembered_for_years(colour: str):
    site = Site(colour, absolute_timeout=None)
    session = await site.request(await logged_in(site, remember=timedelta(days=365)))
    assert session.expires_at == from_ms(NOW + 365 * DAY)
    with pytest.raises(ConfigurationError, match=r"above zero$"):
        session.login("ann", remember=0)


async def test_a_remembered_login_lives_so_long_where_idle_timeout_and_cookie_are_configured_apart(colour: str):
    from sojourn import Cookie

    site = Site(colour, idle_timeout=1800, cookie=Cookie(max_age=20 * 86_400))
    session = await site.request(await logged_in(site, remember=20 * 86_400))
    assert session.expires_at == from_ms(NOW + 20 * DAY)
    other = await site.request(await logged_in(site))
    assert other.expires_at == from_ms(NOW + 30 * MINUTE)


async def test_whom_a_door_knows_by_less_than_the_password_is_not_fresh_until_it_is_confirmed(site: Site):
    session = await site.request(await logged_in(site, stamp="hash"))
    logins.doubt(session._state)
    assert session.owner == "ann" and session.confirmed_at is None and not session.is_fresh(timedelta(days=1))
    await settle(session.save())
    again = await site.request(session.id)
    assert again.confirmed_at is None and again.authenticated_at == from_ms(NOW) and again.check("hash")
    again.confirm()
    assert again.is_fresh(0)


# -- whose data it is -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("owner", "kept"), [("ann", {"cart": 1}), ("bob", {})])
async def test_what_one_owner_left_is_never_carried_to_another(owner: str, kept: dict[str, int], site: Site):
    session = await site.request(None)
    session["cart"] = 1
    session.login("ann", keep_data=True)
    await settle(session.save())
    again = await site.request(session.id)
    assert dict(again) == {"cart": 1}
    again.login(owner, keep_data=True)
    assert (dict(again), again.owner) == (kept, owner)


# -- limits -----------------------------------------------------------------------------------------------------------------------------


async def test_the_oldest_logins_over_the_limit_end_and_never_this_one(site: Site):
    ids = []
    for _ in range(4):
        ids.append(await logged_in(site))
        site.clock.advance(1000)
    other = await logged_in(site, "bob")
    newest = await logged_in(site, max_sessions=3)
    assert await live(site, *ids, newest, other) == [False, False, True, True, True, True]
    again = await logged_in(site, session_id=newest, max_sessions=1)
    assert await live(site, *ids, newest, again) == [False] * 5 + [True]


async def test_logins_at_the_same_time_end_by_key(site: Site):
    ids = [await logged_in(site) for _ in range(4)]
    newest = await logged_in(site, max_sessions=3)
    by_key = sorted(ids, key=site.settings.key_of)
    assert await live(site, *by_key, newest) == [False, False, True, True, True]


@pytest.mark.parametrize("limit", [1, 2])
async def test_logins_that_are_stored_before_either_looks_do_not_end_each_other(limit: int, site: Site):
    """Those of other processes: so many are left as may be."""
    sessions = []
    for _ in range(4):
        sessions.append(session := await site.request(None))
        session.login("ann")
        await settle(session.save())
        site.clock.advance(1)
    for session in sessions:
        session._state.max_sessions = limit
        run(keep_limit(session._state), site.store)
    assert site.store.count() == limit


async def test_who_looks_for_the_limit_does_so_alone(site: Site, monkeypatch: pytest.MonkeyPatch):
    look, held = site.store.by_owner, []

    def by_owner(owner: str) -> Any:
        held.append(site.store.lock(hash_id("logins of ann"), 1000))
        return look(owner)

    monkeypatch.setattr(site.store, "by_owner", by_owner)
    await logged_in(site, max_sessions=1)
    assert held == [None] and site.store.lock(hash_id("logins of ann"), 1000) is not None


async def test_a_store_without_locks_keeps_the_limit_too(site: Site, monkeypatch: pytest.MonkeyPatch):
    def fail(*_given: Any) -> Any:
        raise StoreUnavailable("no locks")

    monkeypatch.setattr(site.store, "lock", fail)
    ids = [await logged_in(site, max_sessions=1), await logged_in(site, max_sessions=1)]
    assert await live(site, *ids) == [False, True]


async def test_a_store_that_fails_after_the_login_leaves_it_and_the_next_login_ends_them(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    ids = [await logged_in(site) for _ in range(3)]

    def fail(_owner: str) -> Any:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(site.store, "by_owner", fail)
    site.clock.advance(1)
    newest = await logged_in(site, max_sessions=2)
    assert await live(site, *ids, newest) == [True] * 4
    assert "have not ended: gone" in caplog.text
    monkeypatch.undo()
    site.clock.advance(1)
    last = await logged_in(site, max_sessions=2)
    assert await live(site, *ids, newest, last) == [False, False, False, True, True]


async def test_a_login_that_is_taken_back_ends_nobodys_sessions(site: Site):
    before = await logged_in(site)
    session = await site.request(None)
    session.login("ann", max_sessions=1)
    session.logout()
    await settle(session.save())
    assert await live(site, before) == [True]
    session = await site.request(before)
    session.login("ann", max_sessions=1)
    session.regenerate()
    session["n"] = 1
    await settle(session.save())
    assert session.owner is None


async def test_what_the_index_has_of_somebody_else_does_not_count(site: Site):
    site.keep(IDS[0], "bob", index="ann")
    first = await logged_in(site)
    assert await live(site, IDS[0], first) == [True, True]
    newest = await logged_in(site, max_sessions=2)
    assert await live(site, IDS[0], first, newest) == [True] * 3


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "2"])
async def test_a_limit_of_sessions_is_a_number(limit: Any, site: Site):
    session = await site.request(None)
    with pytest.raises(ValueError, match="max_sessions must be a whole number, at least 1"):
        session.login("ann", max_sessions=limit)
    with pytest.raises(ValueError, match="max_sessions must be a whole number, at least 1"):
        await settle(session.try_login("ann", max_sessions=limit))


async def test_a_login_is_refused_where_the_owner_has_so_many_sessions(site: Site):
    ids = [await logged_in(site), await logged_in(site)]
    visitor = await site.request(None)
    visitor["cart"] = 1
    assert await settle(visitor.try_login("ann", max_sessions=2)) is False
    assert (visitor.owner, dict(visitor), visitor._state.intent) == (None, {"cart": 1}, Intent.NONE)
    assert await settle(visitor.try_login("ann", max_sessions=3, keep_data=True, sid="s")) is True
    assert (visitor.owner, dict(visitor)) == ("ann", {"cart": 1})
    assert record_of(site, visitor.id).login.sid == "s"
    again = await site.request(ids[0])  # this one does not count
    assert await settle(again.try_login("ann", max_sessions=3)) is True
    assert await live(site, *ids) == [False, True]


async def test_of_two_logins_at_the_same_time_the_later_waits_for_its_look(site: Site, monkeypatch: pytest.MonkeyPatch):
    """Whatever the other one does meanwhile: the lock is held from the look to the write."""
    look, held = site.store.by_owner, []

    def by_owner(owner: str) -> Any:
        held.append(site.store.lock(hash_id("logins of ann"), 1000))
        return look(owner)

    monkeypatch.setattr(site.store, "by_owner", by_owner)
    session = await site.request(None)
    assert await settle(session.try_login("ann", max_sessions=1)) is True
    assert held == [None]
    token = site.store.lock(hash_id("logins of ann"), 1000)
    assert token is not None
    site.store.unlock(hash_id("logins of ann"), token)


async def test_a_lock_that_cannot_be_given_back_is_told_and_the_login_stands(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fail(_key: str, _token: str) -> Any:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(site.store, "unlock", fail)
    session = await site.request(None)
    assert await settle(session.try_login("ann", max_sessions=1)) is True
    assert session.owner == "ann" and "could not be given back" in caplog.text


@pytest.mark.parametrize("method", ["by_owner", "create"])
async def test_a_login_that_is_tried_has_not_happened_where_the_store_fails(
    method: str, site: Site, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_given: Any, **_more: Any) -> Any:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(site.store, method, fail)
    session = await site.request(None)
    with pytest.raises(StoreUnavailable):
        await settle(session.try_login("ann", max_sessions=1))
    assert session.owner is None
    monkeypatch.undo()
    await settle(session.save())
    assert site.store.count() == 0
    assert await settle((await site.request(None)).try_login("ann", max_sessions=1)) is True


class Stopped(BaseException):
    """What ends a process, such as KeyboardInterrupt, which would end the event loop of the tests too."""


@pytest.mark.parametrize("method", ["by_owner", "create"])
@pytest.mark.parametrize("attempt", [True, False], ids=["try_login", "login"])
async def test_who_is_interrupted_in_the_midst_of_a_login_gives_the_owner_s_lock_back(
    method: str, attempt: bool, site: Site, monkeypatch: pytest.MonkeyPatch
):
    def stop(*_given: Any, **_more: Any) -> Any:
        raise Stopped

    monkeypatch.setattr(site.store, method, stop)
    session = await site.request(None)
    if not attempt:
        session.login("ann", max_sessions=1)
    with pytest.raises(Stopped):
        await settle(session.try_login("ann", max_sessions=1) if attempt else session.save())
    assert site.store.lock(hash_id("logins of ann"), 1000) is not None
    assert session.owner is None or not attempt, "it has not happened"


async def test_a_login_that_is_refused_for_what_it_was_given_changes_nothing_and_gives_the_lock_back(site: Site):
    session = await site.request(None)
    session["cart"] = 1
    with pytest.raises(TypeError, match="stamp must be"):
        await settle(session.try_login("ann", max_sessions=1, stamp=""))
    assert (session.owner, dict(session), session._state.intent) == (None, {"cart": 1}, Intent.NONE)
    assert site.store.lock(hash_id("logins of ann"), 1000) is not None


async def test_a_task_that_nobody_runs_any_more_asks_nothing_of_the_store(site: Site):
    session = await site.request(None)
    steps = logins.try_log_in(session._state, "ann", max_sessions=1)
    turn = next(steps)
    lock = steps.send(None)
    assert isinstance(turn, Turn) and isinstance(lock, Lock)
    lock.note("token")
    assert isinstance(steps.send("token"), Owned)
    steps.close()


async def test_who_waits_for_an_owner_s_lock_in_this_process_is_woken(
    colour: str, site: Site, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sojourn.core.steps._FIRST_NAP", 100)  # nobody would wait for that
    site.middleware.direct = None  # as with a store that has to be waited for
    look = site.store.by_owner
    lines, first = site.middleware.turns.lines, [True]

    def is_left_alone() -> bool:
        """Whether who has the lock is still to be waited for by the other one."""
        if any(line._napping is not None for line in lines.values()):
            first.clear()
        return bool(first)

    def by_owner(owner: str) -> Any:
        while is_left_alone():
            time.sleep(0.001)
        return look(owner)

    async def by_owner_async(owner: str) -> Any:
        while is_left_alone():  # noqa: ASYNC110 - what it waits for has no event
            await anyio.sleep(0.001)
        return look(owner)

    if colour == "sync":
        monkeypatch.setattr(site.store, "by_owner", by_owner)
    else:
        monkeypatch.setattr(site.middleware.store, "by_owner", by_owner_async, raising=False)
    sessions = [await site.request(None) for _ in range(2)]
    returned = []

    async def log_in(session: Any) -> None:
        if colour == "sync":
            returned.append(await anyio.to_thread.run_sync(partial(session.try_login, "ann", max_sessions=1)))
        else:
            returned.append(await session.try_login("ann", max_sessions=1))

    async with anyio.create_task_group() as group:
        group.start_soon(log_in, sessions[0])
        group.start_soon(log_in, sessions[1])
        with anyio.fail_after(20):
            while len(returned) < 2:  # noqa: ASYNC110 - as above
                await anyio.sleep(0.001)
    assert sorted(returned) == [False, True]


async def test_a_store_without_locks_or_owners_is_told_of(site: Site, monkeypatch: pytest.MonkeyPatch):
    for name in ("by_owner", "lock"):
        monkeypatch.delattr(type(site.store), name)
        with pytest.raises(StoreError, match=f"has no {name}"):
            await settle((await site.request(None)).try_login("ann", max_sessions=1))


@pytest.mark.parametrize("attempt", [True, False], ids=["try_login", "login"])
async def test_where_the_cookie_cannot_be_sent_a_login_is_the_request_s_alone_and_is_told(
    attempt: bool, colour: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sojourn.logs._said", set())
    site = Site(colour, cookie=Cookie(secure=True))
    session = await site.request(None)  # over plain http
    if attempt:
        assert await settle(session.try_login("ann", max_sessions=1)) is True, "nobody has been refused"
    else:
        session.login("ann", max_sessions=1)
        await settle(session.save())
    assert session.owner == "ann" and site.store.count() == 0
    assert "its cookie is Secure but the request came over plain http" in caplog.text
    assert site.store.lock(hash_id("logins of ann"), 1000) is not None


async def test_after_the_headers_nobody_can_log_in(site: Site):
    session = await site.request(None)
    session._state.sent = True
    with pytest.raises(HeadersAlreadySent):
        await settle(session.try_login("ann", max_sessions=1))
    assert site.store.count() == 0


# -- two factors ------------------------------------------------------------------------------------------------------------------------


async def test_a_password_without_its_second_factor_is_nobody_yet(site: Site):
    session = await site.request(None)
    session["cart"] = 1
    session.begin_login("ann", keep_data=True, stamp="hash")
    assert (session.owner, session.pending_owner, session.authenticated_at) == (None, "ann", None)
    await settle(session.save())
    assert site.store.by_owner("ann") == []
    second = await site.request(session.id)
    assert (second.owner, second.pending_owner, dict(second)) == (None, "ann", {"cart": 1})
    assert not second.is_fresh(timedelta(days=1)) and second.check("hash") is False and second.pending_owner == "ann"
    site.clock.advance(MINUTE)
    second.complete_login(max_sessions=1, sid="s")
    await settle(second.save())
    assert second.id != session.id and await live(site, session.id, second.id) == [False, True]
    third = await site.request(second.id)
    assert (third.owner, third.pending_owner, dict(third)) == ("ann", None, {"cart": 1})
    assert third.authenticated_at == from_ms(NOW + MINUTE) and third.check("hash")
    assert record_of(site, second.id).login.sid == "s"


async def test_a_login_that_was_begun_is_completed_in_time_or_not_at_all(site: Site):
    session = await site.request(None)
    session.begin_login("ann")
    await settle(session.save())
    later = await site.request(session.id)
    site.clock.advance(10 * MINUTE)
    assert later.pending_owner is None
    with pytest.raises(NoPendingLogin):
        later.complete_login()
    with pytest.raises(NoPendingLogin):
        (await site.request(None)).complete_login()
    later.begin_login("ann", within=60)
    site.clock.advance(MINUTE - 1)
    later.complete_login(stamp="new")
    assert later.owner == "ann" and later.check("new")


async def test_who_is_logged_in_and_begins_as_another_is_nobody(site: Site):
    session = await site.request(await logged_in(site))
    session["secret"] = 1
    session.begin_login("bob", keep_data=True)
    assert (session.owner, session.pending_owner, dict(session)) == (None, "bob", {})
    session.logout()


@pytest.mark.parametrize("within", [-1, "10"])
async def test_a_login_is_begun_for_a_time(within: Any, site: Site):
    session = await site.request(None)
    with pytest.raises(ConfigurationError, match="within"):
        session.begin_login("ann", within=within)
    with pytest.raises(TypeError, match="an owner"):
        session.begin_login("")
    assert session.pending_owner is None


# -- bound to the password --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stamp", ["a hash", b"\xff\0a hash", "\ud800"])
async def test_a_changed_password_ends_every_other_session(stamp: Any, site: Site):
    here, there = await logged_in(site, stamp=stamp), await logged_in(site, stamp=stamp)
    assert str(stamp) not in repr(record_of(site, here)) and len(record_of(site, here).login.stamp) == 43
    session = await site.request(here)
    assert session.check(stamp) is True and session._state.intent is Intent.NONE
    session.login("ann", keep_data=True, stamp="new")
    await settle(session.save())
    assert (await site.request(session.id)).check("new") is True
    other = await site.request(there)
    assert other.check("new") is False
    assert other.owner is None
    await settle(other.save())
    assert await live(site, there, session.id) == [False, True]


async def test_a_login_without_a_stamp_fails_the_check_and_nobody_is_left_alone(site: Site):
    session = await site.request(await logged_in(site))
    assert session.check("hash") is False and session._state.intent is Intent.INVALIDATE
    visitor = await site.request(None)
    visitor["cart"] = 1
    assert visitor.check("hash") is False and dict(visitor) == {"cart": 1}


async def test_a_stamp_is_the_same_as_text_and_as_bytes(site: Site):
    session = await site.request(await logged_in(site, stamp="né"))
    assert session.check("né".encode()) is True and session.check("né") is True


async def test_a_stamp_is_one_owners(site: Site):
    ann, bob = await logged_in(site, "ann", stamp="h"), await logged_in(site, "bob", stamp="h")
    assert record_of(site, ann).login.stamp != record_of(site, bob).login.stamp


async def test_a_stamp_by_an_older_secret_is_written_anew(colour: str):
    before = Site(colour, secret=OLD_SECRET)
    session_id = await logged_in(before, stamp="h")
    site = Site(colour, secret=[SECRET, OLD_SECRET])
    site.store, site.middleware.store = before.store, before.middleware.store
    site.middleware.direct = before.middleware.direct
    session = await site.request(session_id)
    old = session._state.who.stamp
    assert session.check("h") is True
    await settle(session.save())
    new = record_of(site, session_id).login.stamp
    assert new == site.settings.signer.marks(b"stamp", "ann\0h")[0] != old
    assert (await site.request(session_id)).check("h") is True


async def test_a_stamp_that_is_written_anew_brings_no_ended_session_back(colour: str):
    old = Site(colour, secret=OLD_SECRET)
    first = await logged_in(old, stamp="hash")
    site = Site(colour, secret=[SECRET, OLD_SECRET])
    key = site.settings.key_of(first)
    found = old.store.load(key)
    assert isinstance(found, Stored)
    site.store.create(key, found.data, DAY, owner="ann")
    session = await site.request(first)
    assert session.check("hash")
    session.regenerate(keep_data=True)
    assert await settle(session.sessions.end_owner("ann")) == 1
    await settle(session.save())
    assert session.owner is None and site.store.count() == 0


@pytest.mark.parametrize("sid", [None, "p1"])
async def test_a_login_that_was_stored_and_ended_is_not_brought_back_by_a_new_id(sid: str | None, site: Site):
    session = await site.request(None)
    session.login("ann")
    await settle(session.save())
    if sid is not None:
        logins.note_sid(session._state, sid)
    assert await settle(session.sessions.end_owner("ann")) == 1
    session["n"] = 1
    session.regenerate(keep_data=True)
    await settle(session.save())
    assert session.owner is None and dict(session) == {"n": 1} and site.store.count() == 1


@pytest.mark.parametrize("stamp", ["", b"", 5, None])
async def test_a_stamp_is_text_or_bytes(stamp: Any, site: Site):
    session = await site.request(await logged_in(site, stamp="h"))
    with pytest.raises(TypeError, match="stamp must be a non-empty str or bytes"):
        session.check(stamp)
    if stamp is not None:
        with pytest.raises(TypeError, match="stamp must be a non-empty str or bytes"):
            session.login("ann", stamp=stamp)
    assert session.owner == "ann" and session._state.intent is Intent.NONE


# -- administrators and providers -------------------------------------------------------------------------------------------------------


async def test_a_providers_session_ends_those_that_logged_in_by_it(site: Site):
    ann = [await logged_in(site, sid="p1"), await logged_in(site, sid="p1"), await logged_in(site, sid="p2")]
    bob = await logged_in(site, "bob", sid="p1")
    sessions = (await site.request(None)).sessions
    assert await settle(sessions.end_sid("p1", "ann")) == 2
    assert await live(site, *ann, bob) == [False, False, True, True]
    assert await settle(sessions.end_sid("p1")) == 1
    assert await settle(sessions.end_sid("p3")) == 0
    assert await live(site, *ann, bob) == [False, False, True, False]


@pytest.mark.parametrize(
    ("sid", "error"), [("", TypeError), (5, TypeError), ("a\0", ValueError), ("x" * 2049, ValueError)]
)
async def test_a_providers_session_has_a_name(sid: Any, error: type[Exception], site: Site):
    session = await site.request(None)
    with pytest.raises(error, match="sid"):
        session.login("ann", sid=sid)
    assert session.owner is None


@pytest.mark.parametrize("owner", [None, "ann"])
async def test_a_token_without_a_sid_ends_nobodys_session(owner: str | None, site: Site):
    ann = await logged_in(site)
    sessions = (await site.request(None)).sessions
    with pytest.raises(TypeError, match="sid must be a non-empty str, not NoneType"):
        await settle(sessions.end_sid(None, owner))
    assert await live(site, ann) == [True]


async def test_sessions_are_ended_by_what_they_hold(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sojourn.middleware.sessions._AT_ONCE", 2)
    for number, owner in enumerate(["ann", "bob", "ann", "cid", "ann"]):
        site.keep(IDS[number], owner)
    sessions, seen = (await site.request(None)).sessions, []
    ended = await settle(sessions.end_where(lambda view: view.owner == "ann", progress=lambda *step: seen.append(step)))
    assert ended == 3
    assert await live(site, *IDS) == [False, True, False, True, False]
    assert [step[0] for step in seen] == [2, 4, 5] and seen[-1] == (5, 3)
    assert await settle(sessions.end_where(lambda view: view["n"] > 1)) == 0
    assert await settle(sessions.end_where(lambda _view: True)) == 2 and site.store.count() == 0


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(("owner", "ended"), [(None, 1), ("bob", 0)])
async def test_what_a_session_has_become_ends_if_it_is_still_meant(
    owner: str | None, ended: int, times: int, site: Site
):
    session = await site.request(None)
    session["n"] = 1
    await settle(session.save())
    sessions = (await site.request(None)).sessions
    seen: list[str] = []
    run_sync = SyncMiddleware({"secret": SECRET, "clock": site.clock, "store": site.store})

    def becomes(view: Any) -> bool:
        """Whether it is anonymous; and when it was looked at, the visitor does something."""
        if not seen:
            seen.append(session.id)
            for _ in range(times):
                state = begin(site.settings, Found.PENDING, io=run_sync, ids=[seen[-1]])
                run_sync.look_up(state)
                other = Session(state)
                if owner is None:
                    other.regenerate(keep_data=True)
                else:
                    other.login(owner)
                other.save()
                seen.append(other.id)
        return view.owner is None and "n" in view

    assert await settle(sessions.end_where(becomes)) == ended
    assert await live(site, *seen) == [False] * times + [not ended]


async def test_a_provider_s_session_is_noted_where_a_framework_has_logged_somebody_in(site: Site):
    session = await site.request(await logged_in(site))
    logins.note_sid(session._state, "one")
    await settle(session.save())
    assert await settle(session.sessions.end_sid("one")) == 1
    nobody = await site.request(None)
    with pytest.raises(NotLoggedIn):
        logins.note_sid(nobody._state, "two")
    with pytest.raises(TypeError, match="sid"):
        logins.note_sid(nobody._state, 5)  # type: ignore[arg-type]
