"""Settings that both sides have alike, and secrets that are rotated on one side after the other."""

from __future__ import annotations

import itertools
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest
from psycopg import sql

from tests.interop.peers import PEERS, Peer, execute
from tests.interop.sites import OLD_SECRET, SECRET, Browser, Pair, Refused, Site, World
from tests.servers import MongoServer

pytestmark = [pytest.mark.server, pytest.mark.express]

HOUR: Final = 3600
DAY: Final = 24 * HOUR
REDIS: Final = pytest.mark.parametrize("peer", [PEERS["connect-redis"]], ids=["connect-redis"])
"""Where the store is of no account."""


def assert_shared(browser: Browser, first: Site, second: Site, path: str = "/") -> str:
    """One side begins a session, the other goes on with it, and back."""
    session = browser.visit(first, ["set", ["user"], "ann"], path=path).id
    changed = browser.visit(second, ["set", ["seen"], [second.side]], path=path)
    assert (changed.id, changed.data) == (session, {"user": "ann", "seen": [second.side]})
    back = browser.visit(first, ["append", ["seen"], first.side], path=path)
    assert (back.id, back.data) == (session, {"user": "ann", "seen": [second.side, first.side]})
    return session


def assert_shared_both_ways(world: World, pair: Pair, path: str = "/") -> None:
    for first, second in (pair.both, pair.both[::-1]):
        browser = world.browser()
        assert_shared(browser, first, second, path)
        assert len(list(browser.cookies.jar)) == 1


# The cookie.

COOKIES: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "name": ({"name": "app.session"}, {"name": "app.session"}),
    "a lifetime": ({"cookie": {"maxAge": HOUR * 1000}}, {"cookie": {"max_age": HOUR}}),
    "rolling": ({"cookie": {"maxAge": HOUR * 1000}, "rolling": True}, {"cookie": {"max_age": HOUR}, "rolling": True}),
    "attributes": (
        {"cookie": {"httpOnly": False, "sameSite": "strict", "priority": "high"}},
        {"cookie": {"httponly": False, "samesite": "strict", "priority": "high"}},
    ),
    "secure auto": (
        {"cookie": {"secure": "auto", "sameSite": "auto"}},
        {"cookie": {"secure": "auto", "samesite": "auto"}},
    ),
    "resave": ({"resave": True, "saveUninitialized": True}, {"resave": True, "save_uninitialized": True}),
    "a secret longer than a block": ({"secret": "s" * 100}, {"secret": "s" * 100}),
    "a secret that is not ASCII": ({"secret": "clé 😀" * 9}, {"secret": "clé 😀" * 9}),
}
PATH: Final = {"cookie": {"path": "/shop"}}


@REDIS
@pytest.mark.parametrize("name", COOKIES)
def test_under_like_options_the_two_share_one_cookie(name: str, world: World, peer: Peer, colour: str):
    node, python = COOKIES[name]
    assert_shared_both_ways(world, world.pair(peer, colour, node=node, python=python))


@REDIS
def test_outside_of_the_cookies_path_neither_has_a_session(world: World, peer: Peer, colour: str, browser: Browser):
    pair = world.pair(peer, colour, node=PATH, python=PATH)
    assert_shared_both_ways(world, pair, "/shop/cart")
    assert_shared(browser, *pair.both, path="/shop")
    for site in pair.both:
        assert browser.visit(site, path="/").seen is None
        assert browser.visit(site, path="/shop/").data


@REDIS
def test_behind_a_proxy_that_ends_tls_a_secure_cookie_is_shared(world: World, peer: Peer, colour: str):
    node = {"cookie": {"secure": True, "sameSite": "none"}, "proxy": True}
    python = {"cookie": {"secure": True, "samesite": "none"}, "trust_proxy": True}
    pair = world.pair(peer, colour, node=node, python=python)
    https = {"X-Forwarded-Proto": "https"}
    for first, second in (pair.both, pair.both[::-1]):
        begun = world.browser().visit(first, ["set", ["n"], 1], headers=https)
        (cookie,) = begun.set_cookies
        assert cookie.endswith("; Path=/; HttpOnly; Secure; SameSite=None")
        held = https | {"Cookie": cookie.partition(";")[0]}  # the jar gives it to no plain connection
        assert world.browser().visit(second, ["set", ["n"], 2], headers=held).id == begun.id
        assert world.browser().visit(first, headers=held).data == {"n": 2}


@pytest.mark.parametrize("name", ["connect-redis", "connect-pg-simple", "connect-mongo"])
def test_ids_of_whatever_characters_are_shared(world: World, name: str, colour: str):
    peer = PEERS[name]
    ids = [f"{begin} {colour}" for begin in ("a b/c.d;e=f", "{é😀}", 'quo"te%41', "$" + 200 * "x")]
    for side, pair in {
        "express": world.pair(peer, colour, node={"ids": ids}),
        "python": world.pair(peer, colour, python={"ids": ids}),
    }.items():
        first, second = pair[side], pair.other(pair[side])
        for session in ids:
            browser = world.browser()
            assert assert_shared(browser, first, second) == session
            browser.visit(first, ["destroy"])
            assert pair.rows.read(session) is None


# Secrets.


@REDIS
def test_a_cookie_is_taken_by_whoever_knows_the_secret_that_signed_it(world: World, peer: Peer, colour: str):
    lists = [[SECRET], [OLD_SECRET], [SECRET, OLD_SECRET], [OLD_SECRET, SECRET]]
    for node, python in itertools.product(lists, lists):
        pair = world.pair(peer, colour, node={"secret": node}, python={"secret": python})
        for first, second, signing, known in (
            (*pair.both, node[0], python),
            (*pair.both[::-1], python[0], node),
        ):
            browser = world.browser()
            session = browser.visit(first, ["set", ["n"], 1]).id
            assert (browser.visit(second).id == session) is (signing in known)


@REDIS
def test_secrets_are_rotated_without_a_logout(world: World, peer: Peer, colour: str):
    old, both, new = [OLD_SECRET], [SECRET, OLD_SECRET], [SECRET]
    express = [world.express(peer, secret=secret) for secret in (old, both[::-1], both, new)]
    python = [world.python(peer, colour, secret=secret) for secret in (old, both[::-1], both, new)]
    visitors = [world.browser(), world.browser()]
    sessions = [
        visitor.visit(site, ["set", ["n"], 0]).id
        for visitor, site in zip(visitors, (express[0], python[0]), strict=True)
    ]
    # Each side learns the new secret, then signs with it, then forgets the old: never both at once.
    for site in (
        python[1],
        express[0],
        express[1],
        python[2],
        express[1],
        express[2],
        python[2],
        python[3],
        express[3],
    ):
        for visitor, session in zip(visitors, sessions, strict=True):
            assert visitor.visit(site).id == session


@REDIS
def test_express_does_not_sign_anew_but_the_python_side_does(world: World, peer: Peer, colour: str, browser: Browser):
    both = [SECRET, OLD_SECRET]
    session = browser.visit(world.express(peer, secret=OLD_SECRET), ["set", ["n"], 1]).id
    assert not browser.visit(world.express(peer, secret=both)).set_cookies  # contract 35
    assert browser.twin().visit(world.express(peer)).id != session
    assert browser.visit(world.python(peer, colour, secret=both)).set_cookies
    assert browser.visit(world.express(peer)).id == session


# The stores.


def assert_stored_alike(world: World, pair: Pair, lifetime: float) -> None:
    """Both create and both save; each time the row is where it should be, and lasts as long."""
    for first, second in (pair.both, pair.both[::-1]):
        browser = world.browser()
        session = assert_shared(browser, first, second)
        for site in (first, second):
            seen = browser.visit(site, ["set", ["n"], site.side])
            assert seen.id == session
            assert lifetime - 10 < pair.row(seen).left <= lifetime + 1
        browser.visit(second, ["destroy"])
        assert pair.rows.read(session) is None


def test_without_a_lifetime_a_session_lives_as_long_as_with_the_node_store(pair: Pair, world: World):
    assert_stored_alike(world, pair, DAY if pair.peer.server != "mongodb" else 14 * DAY)


def test_the_lifetime_of_a_stores_options_is_the_idle_timeout_here(peer: Peer, colour: str, world: World):
    option = {"expires": 900_000} if peer.package == "connect-mongodb-session" else {"ttl": 900}
    pair = world.pair(peer.but(node=option), colour, python={"idle_timeout": 900})
    assert_stored_alike(world, pair, 900)


def test_the_lifetime_of_the_cookie_is_that_of_the_row(peer: Peer, colour: str, world: World):
    node, python = COOKIES["a lifetime"]
    assert_stored_alike(world, world.pair(peer, colour, node=node, python=python), HOUR)


@pytest.mark.parametrize("prefix", ["sess:", "a*pp[1]?\\:", "é 😀"])
def test_the_prefix_of_redis_names_is_shared(prefix: str, colour: str, world: World):
    own = {} if prefix == "sess:" else {"prefix": prefix}
    peer = Peer("connect-redis", "redis", own, own)
    assert_stored_alike(world, world.pair(peer, colour), DAY)


@pytest.mark.parametrize("table", ["session", 'my "sessions"; --', "Upper Case"])
def test_schemas_and_tables_whose_names_need_quoting_are_shared(table: str, colour: str, world: World):
    schema = made_schema(f'the "Größe"; {uuid.uuid4().hex[:12]}', world)
    peer = PEERS["connect-pg-simple"].but(
        node={"schemaName": schema, "tableName": table}, python={"schema": schema, "table": table}
    )
    assert_stored_alike(world, world.pair(peer, colour), DAY)


@pytest.mark.parametrize("name", [name for name in PEERS if "mongo" in name])
def test_mongodb_databases_and_collections_are_shared(name: str, colour: str, world: World, mongodb: MongoServer):
    database = urlsplit(mongodb.url()).path[1:]
    is_session = PEERS[name].package == "connect-mongodb-session"
    peer = PEERS[name].but(
        node={
            "databaseName" if is_session else "dbName": database,
            "collection" if is_session else "collectionName": "a session é",
        },
        python={"collection": "a session é"},
    )
    assert_stored_alike(world, world.pair(peer, colour), 14 * DAY)


def made_schema(name: str, world: World) -> str:
    """The schema of that name, until the end."""
    url, quoted = world.servers.postgres(), sql.Identifier(name)
    execute(url, sql.SQL("CREATE SCHEMA {}").format(quoted))
    world.at_end(execute, url, sql.SQL("DROP SCHEMA {} CASCADE").format(quoted))
    return name


@pytest.fixture
def fresh(peer: Peer, world: World) -> Peer:
    """The peer with a table or collection that nobody has made yet."""
    name = f"fresh {uuid.uuid4().hex[:12]}"
    if peer.server == "postgres":
        # In a schema of its own, as connect-pg-simple names its index alike for every table.
        return peer.but(node={"schemaName": made_schema(name, world)}, python={"schema": name})
    if peer.server == "redis":
        return peer.but(node={"prefix": name}, python={"prefix": name})
    option = "collection" if peer.package == "connect-mongodb-session" else "collectionName"
    return peer.but(node={option: name}, python={"collection": name})


@pytest.mark.parametrize("maker", ["express", "python"])
def test_whoever_comes_first_makes_the_table_and_its_indexes_to_the_others_content(
    maker: str, fresh: Peer, colour: str, world: World
):
    world.logged(colour)
    sites = {}
    for side in ("express", "python") if maker == "express" else ("python", "express"):
        sites[side] = world.express(fresh) if side == "express" else world.python(fresh, colour)
        world.browser().visit(sites[side], ["set", ["n"], 1])
    assert_shared_both_ways(world, Pair(fresh, sites["express"], sites["python"], world.rows(fresh)))
    assert world.logged(colour) == []


def test_both_list_count_and_clear_what_either_has_stored(fresh: Peer, colour: str, world: World, browser: Browser):
    pair = world.pair(fresh, colour)
    world.browser().visit(pair.express, ["set", ["n"], 1])
    world.browser().visit(pair.python, ["login", "ann"], ["set", ["n"], 2])  # on Redis, an owner has keys of its own
    sites = [pair.python]
    if fresh.package in {"connect-redis", "connect-mongo"}:  # the others have no such methods that work
        sites.append(pair.express)
    for site, count in zip(sites, ("count", "length"), strict=False):
        listed, counted, _ = browser.visit(site, ["store", "all"], ["store", count]).answers
        assert sorted(session["n"] for session in listed) == [1, 2]
        assert counted == 2
    browser.visit(sites[-1], ["store", "clear"])
    assert browser.visit(pair.python, ["store", "count"]).answers[0] == 0


@pytest.mark.parametrize("peer", [PEERS["connect-pg-simple"]], ids=["connect-pg-simple"])
def test_the_table_as_express_made_it_serves_without_a_change(fresh: Peer, colour: str, world: World, browser: Browser):
    world.logged(colour)
    peer = fresh.but(python={"create_table": "false"})
    browser.visit(world.express(peer), ["set", ["n"], 1])
    pair = world.pair(peer, colour)
    assert_stored_alike(world, pair, DAY)
    assert set(pair.row(browser.visit(pair.python)).rest) == {"expire"}
    assert world.logged(colour) == []


@pytest.mark.parametrize("peer", [PEERS["connect-pg-simple"]], ids=["connect-pg-simple"])
def test_the_expiry_is_written_in_the_time_zone_of_the_connection_by_both(pair: Pair, world: World):
    ahead = datetime.now(UTC) + timedelta(days=1)
    local = ahead.astimezone(ZoneInfo("America/New_York")).replace(tzinfo=None)
    for site in pair.both:
        written = datetime.fromisoformat(pair.row(world.browser().visit(site, ["set", ["n"], 1])).rest["expire"])
        assert abs(written - local) < timedelta(seconds=10)
        assert written.microsecond == 0


# The dates that connect-mongo keeps beside a session.

DATED: Final = {
    name: PEERS[name].but(
        node={"touchAfter": 1000, "timestamps": True}, python={"timestamps": "true", "last_modified": "true"}
    )
    for name in ("connect-mongo", "connect-mongo stringify=false")
}
DATES: Final = {"createdAt", "updatedAt", "lastModified"}
dated = pytest.mark.parametrize("peer", DATED.values(), ids=DATED)


@dated
def test_both_write_the_dates_of_connect_mongo(pair: Pair, world: World):
    for first, second in (pair.both, pair.both[::-1]):
        browser = world.browser()
        seen = browser.visit(first, ["set", ["n"], 1])
        begun = pair.row(seen).rest
        assert set(begun) == DATES
        browser.visit(second, ["set", ["n"], 2])
        changed = pair.row(seen).rest
        assert set(changed) == DATES
        assert changed["createdAt"] == begun["createdAt"]
        assert changed["updatedAt"] > begun["updatedAt"]
        assert changed["lastModified"] > begun["lastModified"]
        assert all(type(date) is datetime for date in changed.values())
        assert browser.visit(pair.python).data == {"n": 2}  # the dates are not taken for data


@dated
def test_express_leaves_its_touches_out_after_a_save_or_a_touch_of_ours(pair: Pair, browser: Browser):
    session = browser.visit(pair.python, ["set", ["n"], 1]).id
    pair.rows.expire_in(session, 100)
    assert pair.row(browser.visit(pair.express)).left < 101  # touchAfter is not over
    touched = browser.visit(pair.python)
    assert pair.row(touched).left > 13 * DAY
    pair.rows.expire_in(session, 100)
    assert pair.row(browser.visit(pair.express)).left < 101


@dated
def test_dates_that_only_express_writes_are_left_as_they_are(peer: Peer, colour: str, world: World, browser: Browser):
    plain = peer.but(python={"timestamps": "false", "last_modified": "false"})
    pair = world.pair(plain, colour)
    seen = browser.visit(pair.express, ["set", ["n"], 1])
    before = pair.row(seen).rest
    for operations in ([], [["set", ["n"], 2]]):
        browser.visit(pair.python, *operations)
        assert pair.row(seen).rest == before
    moved = browser.visit(pair.python, ["regenerate_keeping"])
    assert pair.row(moved).rest == {}
    browser.visit(pair.express, ["set", ["n"], 3])
    assert pair.row(moved).rest.keys() >= {"updatedAt", "lastModified"}


@dated
def test_the_name_that_connect_mongo_keeps_its_date_under_is_refused_as_data(pair: Pair, browser: Browser):
    browser.visit(pair.python, ["set", ["n"], {"lastModified": 1}])
    with pytest.raises(Refused, match="lastModified"):
        browser.visit(pair.python, ["set", ["lastModified"], "yesterday"])
    for site in pair.both:
        assert browser.visit(site).data.get("n") == {"lastModified": 1}
