"""What an operator may ask of a store, in both colours: `sojourn.admin`."""

from __future__ import annotations

import inspect
import logging
import pickle
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

import pytest

from sojourn.admin import Admin, Ambiguous, AsyncAdmin, NotOneName, Selection
from sojourn.clock import from_ms
from sojourn.cookie import Cookie
from sojourn.core.session import Session
from sojourn.core.settings import SessionSettings
from sojourn.core.store import Facts, Stored
from sojourn.errors import SessionDecodeError, StoreUnavailable
from sojourn.ids import hash_id, mask_id
from sojourn.stores import MemoryStore, SQLiteStore
from sojourn.testing import as_async
from tests.core.making import DAY, HOUR, ID, NOW, clock_of, make_settings, record_bytes

pytestmark = pytest.mark.anyio
EVERY = Selection()


async def settle(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


@pytest.fixture
def settings() -> SessionSettings:
    return make_settings()


@pytest.fixture
def store(settings) -> MemoryStore:
    return MemoryStore(clock=clock_of(settings))


@pytest.fixture(params=["sync", "async"])
def admin(request, settings, store) -> Any:
    return Admin(store, settings) if request.param == "sync" else AsyncAdmin(as_async(store), settings)


def keep(settings: SessionSettings, store: Any, session_id: str, owner: str | None = None, **data: Any) -> str:
    """A session in the store; returns its key."""

    def login(session: Session) -> None:
        if owner is not None:
            session.login(owner, keep_data=True)

    key = settings.key_of(session_id)
    store.create(key, record_bytes(settings, data or {"n": 1}, before=login), DAY, owner=owner)
    return key


async def every(admin: Any, wanted: Selection = EVERY, **options: Any) -> list[Any]:
    """All sessions, page by page."""
    found: list[Any] = []
    after: str | None = None
    while True:
        listing = await settle(admin.list(wanted, after=after, **options))
        found += listing.sessions
        after = listing.next
        if after is None:
            return found


# -- lists


async def test_a_list_has_each_session_once_with_what_is_known_of_it(admin, settings, store) -> None:
    keys = [keep(settings, store, f"{ID}-{number}", "ann" if number % 3 == 0 else None) for number in range(20)]
    found = await every(admin, limit=7)
    assert sorted(session.name for session in found) == sorted(keys)
    one = next(session for session in found if session.name == keys[0])
    assert (one.owner, one.created_at, one.authenticated_at) == ("ann", from_ms(NOW), from_ms(NOW))
    assert (one.last_seen_at, one.expires_at, one.is_readable) == (from_ms(NOW), from_ms(NOW + DAY), True)
    assert one.size == len(store.load(keys[0]).data)


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_a_list_on_conditions_has_only_those_that_meet_all(admin, settings, store, limit) -> None:
    old = [keep(settings, store, f"old-{number}", "ann") for number in range(3)]
    clock_of(settings).advance(2 * HOUR)
    new = [keep(settings, store, f"new-{number}", "bob", blob="x" * 3000) for number in range(3)]
    nobody = keep(settings, store, "nobody")

    async def names(**conditions: Any) -> set[str]:
        found = [session.name for session in await every(admin, Selection(**conditions), limit=limit)]
        assert len(found) == len(set(found))
        return set(found)

    assert await names(owner="ann") == set(old)
    assert await names(owner="bob", larger_than=2000) == set(new)
    assert await names(owner="nobody we know") == set()
    assert await names(is_anonymous=True) == {nobody}
    assert await names(older_than=HOUR) == set(old)
    assert await names(idle_for=HOUR) == set(old)
    assert await names(idle_for=3 * HOUR) == set()
    assert await names(larger_than=2000) == set(new)
    assert await names(prefix=nobody[:10]) == {nobody}


async def test_a_list_reads_no_more_than_its_budget_and_says_where_to_go_on(admin, settings, store) -> None:
    for number in range(1200):
        keep(settings, store, f"{ID}-{number}")
    wanted = keep(settings, store, "wanted", "ann")
    listing = await settle(admin.list(Selection(prefix=wanted), limit=5, budget=400))
    assert listing.looked_at == 400 and listing.next is not None
    found = await every(admin, Selection(prefix=wanted), limit=5, budget=500)
    assert [session.name for session in found] == [wanted]


async def test_a_list_goes_on_where_it_was_though_the_session_there_has_ended(admin, settings, store) -> None:
    keys = sorted(keep(settings, store, f"{ID}-{number}", "ann") for number in range(6))
    first = await settle(admin.list(Selection(larger_than=1), limit=2))
    store.delete(first.sessions[-1].name)
    rest = await every(admin, Selection(larger_than=1), limit=100)
    assert {session.name for session in rest} == set(keys) - {first.sessions[-1].name}
    second = await settle(admin.list(Selection(larger_than=1), limit=100, after=first.next))
    assert {*keys[2:]} <= {session.name for session in second.sessions}


@pytest.mark.parametrize("after", ["x", "!", "eyJ9", "WyIiLC0xXQ", "WyIiLDAsOTk5OTk5XQ", "\ud800"])
async def test_a_place_that_no_list_has_returned_is_refused(admin, after) -> None:
    with pytest.raises(ValueError, match="after is not what a listing has returned"):
        await settle(admin.list(after=after))


async def test_what_cannot_be_read_is_listed_as_such(admin, settings, store) -> None:
    key = settings.key_of(ID)
    store.create(key, b"no record", HOUR)
    (session,) = (await settle(admin.list())).sessions
    assert (session.name, session.is_readable, session.owner, session.size) == (key, False, None, 9)
    assert await every(admin, Selection(is_anonymous=True)) == []
    with pytest.raises(SessionDecodeError):
        await settle(admin.show(key))


# -- names


async def test_a_session_is_found_by_its_key_its_first_digits_masks_and_its_handle(admin, settings, store) -> None:
    key = keep(settings, store, ID, "ann", n=1)
    keep(settings, store, "another", "ann", n=2)
    handle = settings.signer.marks(b"device", key)[0]
    for name in (key, key[:8], mask_id(ID), mask_id(key), f"{key[:12]}...", handle):
        assert await settle(admin.key_of(name)) == key
        assert await settle(admin.key_of(name, owner="ann")) == key
    for name in (key[:8], handle):
        with pytest.raises(NotOneName, match="no live session"):
            await settle(admin.key_of(name, owner="bob"))


@pytest.mark.parametrize("name", ["", "ab", "no name", "ZZZZZZZZ", f"{'a' * 65}", "z" * 42])
async def test_what_is_no_name_is_refused_and_not_repeated(admin, name) -> None:
    with pytest.raises(NotOneName, match="no session can be named so") as caught:
        await settle(admin.key_of(name))
    assert len(name) < 3 or name not in str(caught.value)


async def test_a_key_that_is_not_there_names_nothing(admin, settings, store) -> None:
    for name in (hash_id("no such"), hash_id("no such")[:10]):
        with pytest.raises(NotOneName, match="no live session"):
            await settle(admin.key_of(name))


async def test_a_name_of_two_sessions_is_refused_and_says_what_tells_them_apart(admin, settings, store) -> None:
    keys = ["12345678" + f"{number}" * 56 for number in range(2)]
    for key in keys:
        store.create(key, record_bytes(settings, {"n": 1}), HOUR, owner="ann")
    with pytest.raises(Ambiguous) as caught:
        await settle(admin.end(["12345678"]))
    assert caught.value.names == [key[:16] for key in keys]
    assert store.count() == 2
    assert await settle(admin.end([caught.value.names[1]])) == 1
    assert store.load(keys[0]) and not store.load(keys[1])


@pytest.fixture
def shared() -> SessionSettings:
    return make_settings(express_profile=True)


@pytest.mark.parametrize("colour", [Admin, AsyncAdmin])
async def test_where_the_key_is_the_id_only_masks_are_shown_and_taken(colour, shared) -> None:
    store = MemoryStore(clock=clock_of(shared))
    admin = colour(store if colour is Admin else as_async(store), shared)
    ids = {f"secret-id-{number}" for number in range(30)} | {hash_id("an id that looks like a hash")}
    for each in ids:
        keep(shared, store, each, "ann")
    found, after, said = [], None, []
    while True:
        listing = await settle(admin.list(limit=4, after=after))
        found += listing.sessions
        after = listing.next
        if after is None:
            break
        said.append(after)
    assert sorted(session.name for session in found) == sorted(map(mask_id, ids))
    assert len(said) > 5 and not any("secret" in repr(part) for part in said)
    filtered = await every(admin, Selection(larger_than=1), limit=4)
    assert sorted(session.name for session in filtered) == sorted(map(mask_id, ids))
    for each in ids:
        with pytest.raises(NotOneName) as caught:
            await settle(admin.end([each]))
        assert each not in str(caught.value)
    one = ids.pop()
    assert await settle(admin.end([mask_id(one)])) == 1
    assert store.count() == len(ids)
    owned = await settle(admin.list(Selection(owner="ann"), limit=2))
    assert owned.next is not None and not ids & {session.name for session in owned.sessions}


@pytest.mark.parametrize("colour", [Admin, AsyncAdmin])
async def test_a_place_has_no_id_in_it_where_the_options_say_that_keys_are_none(
    colour, settings, tmp_path: Path
) -> None:
    store = SQLiteStore(tmp_path / "sessions.db", clock=clock_of(settings))
    admin = colour(store if colour is Admin else as_async(store), settings)
    ids = sorted(f"secret-id-{number:02}" for number in range(9))
    for each in [*ids, *(hash_id(each) for each in ids)]:
        store.create(each, record_bytes(settings, {"n": 1}), DAY)
    found, after = [], None
    while True:
        listing = await settle(admin.list(limit=2, after=after))
        found += [session.name for session in listing.sessions]
        after = listing.next
        if after is None:
            break
        assert b"secret" not in urlsafe_b64decode(after + "==")
    assert sorted(found) == sorted([*map(mask_id, ids), *map(hash_id, ids)])
    store.close()


# -- data


async def test_data_are_masked_unless_they_are_to_be_revealed(admin, settings, store) -> None:
    data = {"cart": {"tent": 1, "boots": 2}, "note": "private", "n": 12345, "flag": True, "at": from_ms(NOW)}
    key = keep(settings, store, ID, "ann", **data)
    masked = await settle(admin.show(key))
    assert masked.is_masked and set(masked.data) == set(data)
    assert (masked.data["note"], masked.data["cart"], masked.data["n"]) == ("str of 7", "dict with 2 items", "int")
    assert "private" not in repr(masked) and "12345" not in repr(masked)
    revealed = await settle(admin.show(key, reveal=True))
    assert revealed.data == data and not revealed.is_masked
    assert (revealed.session.name, revealed.session.owner) == (key, "ann")


# -- endings


async def test_sessions_end_by_their_names_or_none_does(admin, settings, store) -> None:
    keys = [keep(settings, store, f"{ID}-{number}", "ann") for number in range(4)]
    with pytest.raises(NotOneName):
        await settle(admin.end([keys[0], hash_id("no such")]))
    assert store.count() == 4
    assert await settle(admin.end([keys[0], keys[1][:9], keys[0]])) == 2
    assert await settle(admin.end([])) == 0
    assert await settle(admin.count()) == 2


async def test_an_owner_s_sessions_end_or_all(admin, settings, store) -> None:
    for number in range(3):
        keep(settings, store, f"{ID}-{number}", "ann")
        keep(settings, store, f"other-{number}", "bob")
    assert await settle(admin.end_owner("ann")) == 3
    assert [session.owner for session in await every(admin)] == ["bob"] * 3
    assert await settle(admin.end_all()) == 3
    assert await settle(admin.count()) == 0


async def test_sessions_end_by_keys_of_the_store(admin, settings, store) -> None:
    keys = [keep(settings, store, f"{ID}-{number}", "ann") for number in range(3)]
    assert await settle(admin.end_keys(keys[:2])) == 2
    assert await settle(admin.end_keys([])) == 0
    assert await settle(admin.count()) == 1


async def test_what_has_expired_is_removed(admin, settings, store) -> None:
    keep(settings, store, ID)
    clock_of(settings).advance(2 * DAY)
    assert await settle(admin.prune()) == 1


async def test_a_session_is_looked_at_by_its_key(admin, settings, store) -> None:
    key = keep(settings, store, ID, "ann")
    assert (await settle(admin.get(key))).owner == "ann"
    assert await settle(admin.get(settings.key_of("no such"))) is None


# -- numbers


async def test_statistics_count_what_there_is(admin, settings, store, caplog) -> None:
    for number in range(5):
        keep(settings, store, f"{ID}-{number}", "ann" if number < 3 else "bob")
    clock_of(settings).advance(2 * HOUR)
    large = keep(settings, store, "large", blob="x" * 5000)
    store.create(settings.key_of("broken"), b"no record", HOUR // 2)
    stats = await settle(admin.stats())
    assert (stats.live, stats.looked_at, stats.is_sampled) == (7, 7, False)
    assert (stats.owned, stats.owners, stats.unreadable, stats.expiring_soon) == (5, 2, 1, 1)
    assert stats.most_sessions == [("ann", 3), ("bob", 2)]
    assert stats.largest[0].name == large
    assert [bucket.count for bucket in stats.by_age] == [1, 5, 0, 0, 0]
    assert [bucket.count for bucket in stats.by_size] == [6, 0, 1, 0, 0, 0]
    assert stats.by_size[0].below == 1024 and stats.by_size[-1].below is None
    assert stats.size == sum(len(stored.data) for _, stored in store.scan())


async def test_statistics_of_many_are_of_a_sample_and_say_so(admin, settings, store) -> None:
    for number in range(30):
        keep(settings, store, f"{ID}-{number}", "ann")
    stats = await settle(admin.stats(sample=10))
    assert (stats.live, stats.looked_at, stats.is_sampled, stats.owned) == (30, 10, True, 10)


# -- how the store is


async def test_a_ping_tells_how_the_store_is_and_leaves_nothing_there(admin, store) -> None:
    ping = await settle(admin.ping())
    assert "MemoryStore" in ping.store and ping.read_ms >= 0 and ping.write_ms >= 0
    assert ping.skew_ms is None and ping.facts["server"] == "memory of this process"
    assert [finding.level for finding in ping.findings] == ["warning"]
    assert store.count() == 0
    assert (await settle(admin.ping(write=False))).write_ms is None


class Refusing(MemoryStore):
    def replace(self, *_: Any, **__: Any) -> Any:
        raise StoreUnavailable("Redis refused the operation: NOPERM")


async def test_a_store_that_cannot_be_written_is_found_by_a_ping(settings) -> None:
    ping = Admin(Refusing(), settings).ping()
    assert ping.findings[0].level == "error" and "NOPERM" in ping.findings[0].problem
    assert ping.write_ms is None


async def test_a_store_that_says_nothing_of_itself_can_be_pinged(settings, caplog) -> None:
    class Bare(MemoryStore):
        facts = property()  # there is none

    caplog.set_level(logging.ERROR)
    ping = Admin(Bare(), settings).ping()
    assert ping.facts == {} and ping.findings == []


async def test_a_server_s_clock_is_compared_with_this_one(settings) -> None:
    class Ahead(MemoryStore):
        def facts(self) -> Facts:
            return {"server": "Redis", "version": "7", "now": NOW + 5000}

    ping = Admin(Ahead(), settings).ping()
    assert ping.skew_ms == 5000 and "now" not in ping.facts
    assert [finding.level for finding in ping.findings] == ["warning"]


class Forgetful(MemoryStore):
    """Has each record when it is asked for the first time, and no more."""

    def load(self, key: str) -> Any:
        found = super().load(key)
        self.delete(key)
        return found


async def test_a_session_that_ends_while_it_is_looked_for_is_not_shown(settings) -> None:
    store = Forgetful(clock=clock_of(settings))
    key = keep(settings, store, ID)
    with pytest.raises(NotOneName, match="has just ended"):
        Admin(store, settings).show(key)
    keep(settings, store, ID, "ann")
    assert Admin(store, settings).list(Selection(owner="ann")).sessions != []


class Untelling(MemoryStore):
    """Its ``load`` does not tell what a record has left, as that of Redis."""

    def load(self, key: str) -> Any:
        found = super().load(key)
        return found._replace(expires_in=None) if isinstance(found, Stored) else found


async def test_where_the_store_cannot_tell_a_lifetime_it_is_not_known(settings) -> None:
    store = Untelling(clock=clock_of(settings))
    key = keep(settings, store, ID)
    session = Admin(store, settings).get(key)
    assert session is not None and (session.expires_at, session.last_seen_at) == (None, None)


def test_an_ambiguous_name_can_be_pickled() -> None:
    error = pickle.loads(pickle.dumps(Ambiguous(["a", "b"])))
    assert (error.names, str(error)) == (["a", "b"], "this names more than one session: a, b")


async def test_when_a_session_was_used_is_told_by_its_own_lifetime_or_the_option(store) -> None:
    for options, idle in (({}, DAY), ({"idle_timeout": 3600}, HOUR), ({"cookie": lambda _: Cookie()}, DAY)):
        settings = make_settings(**options)
        key = keep(settings, store, f"{options}")
        store.touch(key, idle // 2)
        session = Admin(store, settings).get(key)
        assert session is not None and session.last_seen_at == from_ms(NOW - idle // 2)
