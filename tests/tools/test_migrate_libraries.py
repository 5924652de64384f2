"""From Flask-Session, starsessions, aiohttp-session and Litestar: what these themselves wrote to real servers is a session of ours, under the old cookie."""

from __future__ import annotations

import asyncio
import pickle
import time
import uuid
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import litestar
import msgspec
import pytest
import redis
import redis.asyncio
import sqlalchemy
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pymongo import MongoClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starsessions import SessionAutoloadMiddleware, SessionMiddleware
from starsessions.serializers import JsonSerializer, Serializer
from starsessions.stores.redis import RedisStore as StarsessionsStore

import sojourn.aiohttp
from sojourn import asgi
from sojourn.cli import main
from sojourn.core.record import unpack
from sojourn.migrate import Report, migrate
from sojourn.migrate.endpoints import source_endpoint
from sojourn.stores import SQLiteStore
from sojourn.transports import CookieTransport, OldCookieTransport
from tests.servers import MongoServer, free_port

pytestmark = pytest.mark.server

SECRET = "a secret for migrations, longer than 32 bytes"
FLASK_SECRET = "the flask app's secret key"
LATER = datetime(2199, 1, 1, tzinfo=UTC)
DATA = {"user": "ann", "cart": {"items": [1, 2.5, None], "name": "é 🥾"}}


@pytest.fixture
def prefix(redis_url: str) -> Iterator[str]:
    """Of this test's keys in Redis."""
    prefix = f"test-{uuid.uuid4().hex}:"
    yield prefix
    with redis.Redis.from_url(redis_url) as client:
        for name in client.scan_iter(f"{prefix[:-1]}*", 1000):
            client.delete(name)


@pytest.fixture
def target(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/new.db"


def flask_cookie(config: dict[str, Any], data: dict[str, Any] = DATA) -> str:
    """What a browser has from an application with Flask-Session, once the session is stored."""
    import flask
    import flask_session

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own, about what it will drop
        app = flask.Flask(__name__)
        app.config.update(SECRET_KEY=FLASK_SECRET, PERMANENT_SESSION_LIFETIME=timedelta(hours=1), **config)
        flask_session.Session(app)

        @app.get("/")
        def login() -> str:
            flask.session.update(data)
            return ""

        client = app.test_client()
        assert client.get("/").status_code == 200
        cookie = client.get_cookie("session")
        assert cookie is not None
        if "SESSION_SQLALCHEMY" in config or "SQLALCHEMY_DATABASE_URI" in config:
            with app.app_context():
                app.extensions["sqlalchemy"].engine.dispose()
    return cookie.value


def starsessions_cookie(url: str, prefix: str, serializer: Serializer, data: dict[str, Any]) -> str:
    """The same with starsessions."""

    async def login(request: Request) -> JSONResponse:
        request.session.update(data)
        return JSONResponse(None)

    async def visit() -> str:
        async with redis.asyncio.Redis.from_url(url) as connection:
            app: Any = SessionAutoloadMiddleware(Starlette(routes=[Route("/", login)]))
            store = StarsessionsStore(connection=connection, prefix=prefix)
            app = SessionMiddleware(app, store, lifetime=3600, cookie_https_only=False, serializer=serializer)
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
                await client.get("/")
                return client.cookies["session"]

    return asyncio.run(visit())


def visit(store: str, transport: OldCookieTransport, cookie: str) -> dict[str, Any]:
    """What a visitor finds after the move, who comes with the old cookie and then with the new one."""
    found: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.append(dict(scope["session"]))
        assert scope["session"].owner is None
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    served: Any = asgi.SessionMiddleware(app, secret=SECRET, store=store, transports=[CookieTransport(), transport])

    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(served), base_url="http://test") as client:
            client.cookies["session"] = cookie
            await client.get("/")
            client.cookies.delete("session")
            await client.get("/")

    asyncio.run(ask())
    first, second = found
    assert first == second
    return first


def lefts(url: str) -> list[int | None]:
    store = SQLiteStore.from_url(url)
    found = [stored.expires_in for _, stored in store.scan()]
    store.close()
    return found


def flask_redis(redis_url: str, prefix: str) -> dict[str, Any]:
    return {"SESSION_TYPE": "redis", "SESSION_REDIS": redis.Redis.from_url(redis_url), "SESSION_KEY_PREFIX": prefix}


@pytest.mark.parametrize("form", ["msgpack", "json"])
@pytest.mark.parametrize("signs", [False, True])
def test_a_visitor_of_flask_session_in_redis_stays(
    redis_url: str, prefix: str, target: str, form: str, signs: bool
) -> None:
    config = {"SESSION_SERIALIZATION_FORMAT": form, "SESSION_USE_SIGNER": signs, **flask_redis(redis_url, prefix)}
    cookie = flask_cookie(config)
    began = time.monotonic()
    report = migrate(f"{redis_url}?layout=flask-session&prefix={prefix}", target)
    assert report == Report(copied=1)
    (left,) = lefts(target)
    assert left is not None and 3_590_000 - (time.monotonic() - began) * 1000 < left <= 3_600_000
    secret = FLASK_SECRET if signs else None
    transport = OldCookieTransport(library="flask-session", until=LATER, secret=secret)
    assert visit(target, transport, cookie) == {"_permanent": True, **DATA}


@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
def test_a_visitor_of_flask_session_in_a_table_stays(postgres_url: str, tmp_path: Path, target: str, kind: str) -> None:
    table = f"t{uuid.uuid4().hex}"
    urls = {
        "postgres": postgres_url.replace("postgresql:", "postgresql+psycopg:"),
        "sqlite": f"sqlite:///{tmp_path}/flask.db",
    }
    url = urls[kind]
    config = {"SESSION_TYPE": "sqlalchemy", "SQLALCHEMY_DATABASE_URI": url, "SESSION_SQLALCHEMY_TABLE": table}
    engine = sqlalchemy.create_engine(url)
    try:
        cookie = flask_cookie(config)
        with engine.begin() as connection:
            row = f"INSERT INTO {table} (session_id, data, expiry) VALUES (:name, :data, :expiry)"
            for name, data, expiry in (
                ("session:expired-expired-expired", b"\x80", datetime(2020, 1, 1)),  # noqa: DTZ001 - as Flask-Session
                ("session:endless-endless-endless", b"\x80", None),
                ("session:empty-empty-empty-empty", None, datetime(2199, 1, 1)),  # noqa: DTZ001
                ("another application's", b"\x80", datetime(2199, 1, 1)),  # noqa: DTZ001
            ):
                connection.execute(sqlalchemy.text(row), {"name": name, "data": data, "expiry": expiry})
        assert migrate(f"{url}?layout=flask-session&table={table}", target) == Report(copied=1)
    finally:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(f"DROP TABLE {table}"))
        engine.dispose()
    assert visit(target, OldCookieTransport(library="flask-session", until=LATER), cookie) == {
        "_permanent": True,
        **DATA,
    }


def test_a_visitor_of_flask_session_in_mongodb_stays(mongodb: MongoServer, target: str) -> None:
    url = mongodb.url()
    name = urlsplit(url).path[1:]
    with MongoClient[Any](url) as client:
        config = {"SESSION_TYPE": "mongodb", "SESSION_MONGODB": client, "SESSION_MONGODB_DB": name}
        cookie = flask_cookie({**config, "SESSION_MONGODB_COLLECT": "visitors"})
        sessions, soon = client[name]["visitors"], datetime.now(UTC) + timedelta(hours=1)
        sessions.insert_one({"id": "session:text-text-text-text", "val": '{"n":1}', "expiration": soon})
        sessions.insert_one({"id": "another application's", "val": b"\x80", "expiration": soon})
        sessions.insert_one({"id": 5, "val": b"\x80", "expiration": soon})
        source = f"{url}&layout=flask-session&collection=visitors"
        told: list[int | None] = []
        assert migrate(source, target, progress=lambda _, total: told.append(total)) == Report(copied=2)
        assert told[-1] == 4  # the others are met, and passed over
    transport = OldCookieTransport(library="flask-session", until=LATER)
    assert visit(target, transport, cookie) == {"_permanent": True, **DATA}
    assert visit(target, transport, "text-text-text-text") == {"n": 1}


def test_a_visitor_of_flask_session_stays_in_the_same_application_under_the_same_name_of_the_cookie(
    redis_url: str, prefix: str, target: str
) -> None:
    import flask

    from sojourn.flask import Sojourn

    cookie = flask_cookie(flask_redis(redis_url, prefix))
    assert migrate(f"{redis_url}?layout=flask-session&prefix={prefix}", target) == Report(copied=1)
    app = flask.Flask(__name__)
    app.secret_key = SECRET
    old = OldCookieTransport(library="flask-session", until=LATER)
    Sojourn(app, store=target, transports=[CookieTransport(), old])

    @app.get("/")
    def show() -> dict[str, Any]:
        return {**flask.session, "permanent": flask.session.permanent}

    client = app.test_client()
    client.set_cookie("session", cookie)
    for _ in range(2):
        assert client.get("/").json == {"_permanent": True, "permanent": True, **DATA}
    ours = client.get_cookie("session")
    assert ours is not None and cookie not in ours.value


class Msgpack(Serializer):
    def serialize(self, data: Any) -> bytes:
        return msgspec.msgpack.encode(data)

    def deserialize(self, data: bytes) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.msgpack.decode(data) if data else {}
        return found


class Pickle(Serializer):
    def serialize(self, data: Any) -> bytes:
        return pickle.dumps(data)

    def deserialize(self, data: bytes) -> dict[str, Any]:
        found: dict[str, Any] = pickle.loads(data) if data else {}
        return found


@pytest.mark.parametrize("serializer", [JsonSerializer(), Msgpack(), Pickle()])
def test_a_visitor_of_starsessions_stays_and_the_session_began_when_it_did(
    redis_url: str, prefix: str, target: str, serializer: Serializer
) -> None:
    cookie = starsessions_cookie(redis_url, prefix, serializer, dict(DATA))
    codec = "pickle" if isinstance(serializer, Pickle) else None
    source = f"{redis_url}?layout=starsessions&prefix={prefix}"
    if codec:
        assert migrate(source, target) == Report(failed=1)
    assert migrate(source, target, source_codec=codec) == Report(copied=1)
    store = SQLiteStore.from_url(target)
    ((_, stored),) = store.scan()
    store.close()
    created = unpack(stored.data).created
    assert created is not None and 0 <= time.time() * 1000 - created < 60_000
    assert visit(target, OldCookieTransport(library="starsessions", until=LATER), cookie) == DATA


@pytest.mark.filterwarnings("ignore::aiohttp.web.NotAppKeyWarning")
def test_a_visitor_of_aiohttp_session_stays_logged_in_and_who_had_logged_out_does_not_come_back(
    redis_url: str, prefix: str, target: str
) -> None:
    import aiohttp_security
    import aiohttp_session
    from aiohttp_session.redis_storage import RedisStorage

    from sojourn.aiohttp.security import SojournIdentityPolicy

    async def login(request: web.Request) -> web.Response:
        session = await aiohttp_session.get_session(request)
        session.update({**DATA, "AIOHTTP_SECURITY": "ann"})
        return web.Response()

    async def logout(request: web.Request) -> web.Response:
        (await aiohttp_session.get_session(request)).invalidate()
        return web.Response()

    async def before() -> str:
        async with redis.asyncio.Redis.from_url(redis_url) as connection:
            app = web.Application()
            aiohttp_session.setup(app, RedisStorage(connection, cookie_name=prefix[:-1], max_age=3600))
            app.router.add_get("/login", login)
            app.router.add_get("/logout", logout)
            async with TestClient(TestServer(app)) as client:
                await client.get("/login")
                await client.get("/logout")
                return (await client.get("/login")).cookies[prefix[:-1]].value

    async def show(request: web.Request) -> web.Response:
        session = await sojourn.aiohttp.get_session(request)
        return web.json_response({**session, "who": await aiohttp_security.authorized_userid(request)})

    class Everybody(aiohttp_security.AbstractAuthorizationPolicy):
        async def authorized_userid(self, identity: str) -> str:
            return identity

        async def permits(self, identity: str | None, permission: Any, context: Any = None) -> bool:
            return True

    async def after(cookie: str) -> list[Any]:
        old = OldCookieTransport(library="aiohttp-session", name=prefix[:-1], until=LATER)
        app = web.Application()
        sojourn.aiohttp.setup(app, secret=SECRET, store=target, transports=[CookieTransport(), old])
        aiohttp_security.setup(app, SojournIdentityPolicy(), Everybody())
        app.router.add_get("/", show)
        async with TestClient(TestServer(app)) as client:
            client.session.cookie_jar.update_cookies({prefix[:-1]: cookie})
            return [await (await client.get("/")).json() for _ in range(2)]

    cookie = asyncio.run(before())
    source = f"{redis_url}?layout=aiohttp-session&prefix={prefix[:-1]}_"
    assert migrate(source, target) == Report(copied=1)
    store = SQLiteStore.from_url(target)
    ((_, stored),) = store.scan()
    store.close()
    created = unpack(stored.data).created
    assert created is not None and 0 <= time.time() * 1000 - created < 60_000
    assert asyncio.run(after(cookie)) == [{**DATA, "AIOHTTP_SECURITY": "ann", "who": "ann"}] * 2


def test_a_second_run_brings_over_what_changed_and_knows_what_it_copied(
    redis_url: str, prefix: str, target: str, tmp_path: Path
) -> None:
    source, state = f"{redis_url}?layout=starsessions&prefix={prefix}", tmp_path / "state"
    cookies = [starsessions_cookie(redis_url, prefix, JsonSerializer(), {"n": n}) for n in range(3)]
    assert migrate(source, target, state=state) == Report(copied=3)
    assert migrate(source, target, state=state) == Report(unchanged=3)
    state.unlink()
    assert migrate(source, target, state=state) == Report(unchanged=3)  # as after a run that was killed
    with redis.Redis.from_url(redis_url) as client:
        client.set(f"{prefix}{cookies[0]}", '{"n": 5}', ex=60)
        client.delete(f"{prefix}{cookies[1]}")
    assert migrate(source, target, state=state, remove_ended=True) == Report(updated=1, unchanged=1, removed=1)
    assert visit(target, OldCookieTransport(library="starsessions", until=LATER), cookies[0]) == {"n": 5}


def test_ids_are_kept_where_that_is_said(redis_url: str, prefix: str, target: str) -> None:
    cookie = flask_cookie(flask_redis(redis_url, prefix))
    source = f"{redis_url}?layout=flask-session&prefix={prefix}"
    assert migrate(source, target, hash_ids=False) == Report(copied=1)
    store = SQLiteStore.from_url(target)
    assert [key for key, _ in store.scan()] == [f"flask-session:{cookie}"]
    store.close()


def test_the_command_states_the_danger_of_pickles_and_reads_them_only_where_told(
    redis_url: str, prefix: str, target: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"{redis_url}?layout=flask-session&prefix={prefix}"
    with redis.Redis.from_url(redis_url) as client:
        client.set(f"{prefix}{'x' * 43}", pickle.dumps({"user": "ann"}), ex=60)
    assert main(["migrate", source, target]) == 1
    assert "was not migrated: the record is a pickle; these are read only where they are asked for" in (
        capsys.readouterr().err
    )
    assert main(["migrate", source, target, "--source-codec", "pickle"]) == 0
    assert visit(target, OldCookieTransport(library="flask-session", until=LATER), "x" * 43) == {"user": "ann"}
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["migrate", "--help"]) == 0
    assert "DANGER: a pickle is a program" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:{port}?layout=flask-session",
        "mongodb://127.0.0.1:{port}/app?layout=flask-session&serverSelectionTimeoutMS=50",
        "postgresql+psycopg://nobody@127.0.0.1:{port}/app?layout=flask-session&connect_timeout=1",
    ],
)
def test_a_source_that_cannot_be_reached_is_told(url: str, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", url.format(port=free_port()), target]) == 1
    assert "sojourn: the source fails: " in capsys.readouterr().err


def test_a_table_that_is_not_there_is_told(tmp_path: Path, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "flask.db").touch()
    assert main(["migrate", f"sqlite:///{tmp_path}/flask.db?layout=flask-session", target]) == 1
    assert "the source fails: the table 'sessions' cannot be read (OperationalError" in capsys.readouterr().err


def litestar_cookies(store: Any, *data: dict[str, Any] | None) -> list[str]:
    """What browsers have from an application with Litestar's own sessions: one for each of these, and None for a visitor without."""
    from litestar.middleware.session.server_side import ServerSideSessionConfig
    from litestar.testing import TestClient

    given = iter(data)

    @litestar.get("/")
    async def login(request: litestar.Request[Any, Any, Any]) -> None:
        values = next(given)
        if values is not None:
            request.set_session(values)

    app = litestar.Litestar(
        [login],
        middleware=[ServerSideSessionConfig(max_age=3600).middleware],
        stores={"sessions": store},
        logging_config=None,
    )
    cookies = []
    with TestClient(app) as client:
        for _ in data:
            client.get("/")
            cookies.append(client.cookies["session"])
            client.cookies.clear()
    return cookies


@pytest.mark.parametrize("namespace", ["LITESTAR", "LITESTAR_sessions"])
def test_a_visitor_of_litestar_in_redis_stays(redis_url: str, prefix: str, target: str, namespace: str) -> None:
    from litestar.stores.redis import RedisStore

    store = RedisStore.with_client(redis_url, namespace=f"{prefix}{namespace}")
    _nobody, cookie = litestar_cookies(store, None, DATA)
    source = f"{redis_url}?layout=litestar&prefix={prefix}{namespace}:"
    assert migrate(source, target) == Report(copied=1), "and nothing for the visitor without a session"
    (left,) = lefts(target)
    assert left is not None and 3_500_000 < left <= 3_600_000
    assert visit(target, OldCookieTransport(library="litestar", until=LATER), cookie) == DATA


def test_a_visitor_of_litestar_in_files_stays(
    tmp_path: Path, target: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    from litestar.stores.file import FileStore

    folder = tmp_path / "a folder"
    folder.mkdir()
    source = f"file://{folder}?layout=litestar".replace(" ", "%20")
    _nobody, cookie, gone = litestar_cookies(FileStore(folder), None, DATA, {"n": 1})
    asyncio.run(FileStore(folder).set(gone, b'{"n": 2}', expires_in=-5))
    asyncio.run(FileStore(folder).set("forever", b'{"n": 3}'))
    (folder / ("a" * 64)).write_bytes(b"no record")
    (folder / "half-written").write_bytes(b"")
    (folder / ("b" * 64)).symlink_to(folder / "ended meanwhile")
    assert source_endpoint(source, None).store.count() == 6, "of any kind, for the progress"
    assert migrate(source, target) == Report(copied=2, failed=1)
    assert "the record cannot be read" in caplog.text
    assert visit(target, OldCookieTransport(library="litestar", until=LATER), cookie) == DATA
    assert main(["migrate", f"file://{tmp_path}/nowhere?layout=litestar", target]) == 1
    assert "the folder cannot be read" in capsys.readouterr().err
