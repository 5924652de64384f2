"""From Django: what its own backends wrote to real databases and to a real cache becomes sessions of ours, with their owners."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis
import sqlalchemy
from psycopg import sql

from sojourn.cli import main
from sojourn.clock import DAY_MS
from sojourn.codecs import JSONCodec
from sojourn.core.record import Record, unpack
from sojourn.core.store import Stored
from sojourn.ids import hash_id
from sojourn.migrate import Report, migrate
from sojourn.stores import SQLiteStore
from tests.processes import serving

pytestmark = pytest.mark.server

SECRET = "django-insecure-%s:with a blank"
DATA = {"cart": {"items": [1, 2.5, None], "name": "é 🥾"}, "long": "x" * 3000}
BEFORE = Path(__file__).parent / "django_before.py"


def sessions_of_django(
    database: dict[str, Any], *sessions: dict[str, Any], engine: str = "db", **more: Any
) -> list[str]:
    """The keys of sessions that a site with Django's own sessions has made."""
    told = {"secret": SECRET, "database": database, "engine": engine, "sessions": sessions, **more}
    made = subprocess.run([sys.executable, BEFORE, json.dumps(told)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    keys: list[str] = json.loads(made.stdout)
    return keys


def copied(url: str) -> dict[str, tuple[Record, Stored]]:
    """What is at the target, by its key."""
    store = SQLiteStore.from_url(url)
    found = {key: (unpack(stored.data), stored) for key, stored in store.scan()}
    store.close()
    return found


def data_of(record: Record) -> dict[str, Any]:
    return {name: JSONCodec().decode(bytes(text)) for name, text in record.data.items()}


@pytest.fixture
def target(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/new.db"


@pytest.fixture
def sqlite(tmp_path: Path) -> dict[str, Any]:
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{tmp_path}/django.db"}


@pytest.fixture
def prefix(redis_url: str) -> Iterator[str]:
    prefix = f"test-{uuid.uuid4().hex}"
    yield prefix
    with redis.Redis.from_url(redis_url) as client:
        for name in client.scan_iter(f"{prefix}*", 1000):
            client.delete(name)


@pytest.fixture
def schema(postgres_url: str) -> Iterator[str]:
    name = f"s{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        yield name
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


def postgres(url: str, schema: str) -> dict[str, Any]:
    info = psycopg.conninfo.conninfo_to_dict(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": info["dbname"],
        "USER": info.get("user", ""),
        "PASSWORD": info.get("password", ""),
        "HOST": info.get("host", ""),
        "PORT": str(info.get("port", "")),
        "OPTIONS": {"options": f"-c search_path={schema}"},
    }


@pytest.mark.parametrize(
    ("kind", "engine", "use_tz", "zone"),
    [
        ("sqlite", "db", True, "Asia/Tokyo"),
        ("sqlite", "cached_db", False, "Pacific/Honolulu"),
        ("postgres", "db", True, "Asia/Tokyo"),
        ("postgres", "db", False, "Pacific/Honolulu"),
    ],
)
def test_a_row_becomes_a_session_with_its_owner_its_age_and_the_lifetime_that_is_left(
    sqlite: dict[str, Any],
    postgres_url: str,
    schema: str,
    target: str,
    kind: str,
    engine: str,
    use_tz: bool,
    zone: str,
) -> None:
    before = time.time()
    keys = sessions_of_django(
        sqlite if kind == "sqlite" else postgres(postgres_url, schema),
        {"user": "ann", **DATA},
        {"user": "ann", "n": 1, "age": 3600},
        {"n": 2, "age": -1},
        {"n": 3, "age": "-90000"},
        engine=engine,
        use_tz=use_tz,
        time_zone=zone,
    )
    if kind == "sqlite":
        source = f"sqlite:///{sqlite['NAME']}?layout=django"
    else:
        source = f"{postgres_url.replace('postgresql:', 'postgresql+psycopg:')}?layout=django&schema={schema}"
    source += "" if use_tz else f"&timezone={zone}"
    assert migrate(source, target, source_secret=["another", SECRET]) == Report(copied=2)
    took = (time.time() - before) * 1000 + 1000
    found = copied(target)
    assert set(found) == {hash_id(f"django:{key}") for key in keys[:2]}
    for key, data, age in ((keys[0], DATA, 14 * DAY_MS), (keys[1], {"n": 1, "_session_expiry": 3600}, 3_600_000)):
        record, stored = found[hash_id(f"django:{key}")]
        of_auth = {name: value for name, value in data_of(record).items() if name.startswith("_auth")}
        assert of_auth.keys() == {"_auth_user_id", "_auth_user_backend", "_auth_user_hash"}
        assert data_of(record) == {**of_auth, **data}
        assert record.owner == of_auth["_auth_user_id"] == "1"
        assert record.created is not None and abs(record.created - before * 1000) <= took
        assert stored.expires_in is not None and age - took <= stored.expires_in <= age


def test_what_is_broken_is_counted_and_the_rest_is_copied(
    sqlite: dict[str, Any], target: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sessions_of_django(sqlite, *({"n": n} for n in range(3)))
    with sqlalchemy.create_engine(f"sqlite:///{sqlite['NAME']}").begin() as connection:
        row = sqlalchemy.text("INSERT INTO django_session VALUES (:key, :data, :date)")
        for key, data, date in (
            ("unsigned-unsigned", "eyJuIjoxfQ", "2199-01-01 00:00:00"),
            ("empty-empty-empty", "", "2199-01-01 00:00:00"),
            ("number-number-numb", 5, "2199-01-01 00:00:00"),
            ("undated-undated-un", "", "somewhen"),
        ):
            connection.execute(row, {"key": key, "data": data, "date": date})
        engine = connection.engine
    engine.dispose()
    source, told = f"sqlite:///{sqlite['NAME']}?layout=django", list[int | None]()
    report = migrate(source, target, source_secret=SECRET, progress=lambda _, total: told.append(total))
    assert report == Report(copied=3, failed=4)
    assert told[-1] == 7
    assert len(copied(target)) == 3
    reasons = sorted(record.getMessage().partition(": ")[2] for record in caplog.records)
    assert reasons == [
        "the row has no data, or no date that can be read",
        "the row has no data, or no date that can be read",
        "the row was signed by none of the secrets",
        "the row was signed by none of the secrets",
    ]
    assert migrate(source, target, source_secret="another") == Report(failed=7)


def test_a_run_is_resumed(sqlite: dict[str, Any], target: str, tmp_path: Path) -> None:
    source, state = f"sqlite:///{sqlite['NAME']}?layout=django", tmp_path / "state"
    keys = sessions_of_django(sqlite, *({"user": "ann", "n": n} for n in range(300)))  # more than a page
    assert migrate(source, target, source_secret=SECRET, state=state) == Report(copied=300)
    assert migrate(source, target, source_secret=SECRET, state=state) == Report(unchanged=300)
    state.unlink()
    assert migrate(source, target, source_secret=SECRET, state=state) == Report(
        unchanged=300
    )  # as if it had been killed
    engine = sqlalchemy.create_engine(f"sqlite:///{sqlite['NAME']}")
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("DELETE FROM django_session WHERE session_key = :key"), {"key": keys[0]})
    engine.dispose()
    sessions_of_django(sqlite, {"n": 300})
    report = migrate(source, target, source_secret=SECRET, state=state, remove_ended=True)
    assert report == Report(copied=1, unchanged=299, removed=1)


def test_the_cache_is_read_where_pickles_are_asked_for(
    sqlite: dict[str, Any], redis_url: str, prefix: str, target: str
) -> None:
    cache = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": redis_url, "KEY_PREFIX": prefix}
    key, _ = sessions_of_django(sqlite, {"user": "ann", **DATA}, {"n": 1, "age": 3600}, engine="cache", cache=cache)
    sessions_of_django(sqlite, {"n": 1}, engine="cached_db", cache=cache)
    source = f"{redis_url}?layout=django&prefix={prefix}:1:django.contrib.sessions.cache"
    assert migrate(source, target) == Report(failed=2)
    assert migrate(source, target, source_codec="pickle") == Report(copied=2)
    record, stored = copied(target)[hash_id(f"django:{key}")]
    assert data_of(record).items() >= {"_auth_user_id": "1", **DATA}.items()
    assert stored.expires_in is not None and 13 * DAY_MS < stored.expires_in <= 14 * DAY_MS


def test_the_command_takes_the_secrets_from_the_environment_or_a_file_a_line_each(
    sqlite: dict[str, Any],
    target: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sessions_of_django(sqlite, {"user": "ann"})
    source = f"sqlite:///{sqlite['NAME']}?layout=django"
    assert main(["migrate", source, target, "--dry-run"]) == 2
    error = "source_secret: got none, for rows that Django has signed; give the application's SECRET_KEY (--source-key-env or"
    assert error in capsys.readouterr().err
    monkeypatch.setenv("SECRETS", f"another\n{SECRET}\n")
    assert main(["migrate", source, target, "--dry-run", "--source-key-env", "SECRETS"]) == 0
    file = tmp_path / "secrets"
    file.write_text(f"{SECRET}\r\n")
    assert main(["migrate", source, target, "--source-key-file", str(file), "--source-codec", "pickle"]) == 0
    assert len(copied(target)) == 1
    file.write_text(f"{SECRET}\n\n")
    assert main(["migrate", source, target, "--source-key-file", str(file)]) == 2
    told = capsys.readouterr()
    assert "--source-key-file: got a line without a secret" in told.err
    assert SECRET not in told.err + told.out


# -- the visitors ------------------------------------------------------------------------------------------------------------

WSGI = (
    "from wsgiref.simple_server import make_server\n"
    "from django_after import wsgi\n"
    "server = make_server('127.0.0.1', 0, wsgi)\n"
    "print(f'http://127.0.0.1:{server.server_port}', flush=True)\n"
    "server.serve_forever()\n"
)
SERVERS = {"wsgi": ("-c", WSGI), "asgi": ("-m", "uvicorn", "django_after:asgi", "--port", "0")}


@contextmanager
def moved(how: str, database: dict[str, Any], store: str, **more: Any) -> Iterator[str]:
    """The address of the site after the move."""
    told = json.dumps({"secret": SECRET, "database": database, "store": store, **more})
    with serving(*SERVERS[how], cwd=BEFORE.parent, env={"TOLD": told}) as running:
        yield running.address


@pytest.mark.parametrize("how", SERVERS)
@pytest.mark.parametrize("engine", ["db", "cache"])
def test_a_visitor_of_django_stays_logged_in_under_a_new_key_and_the_old_one_is_of_no_use(
    sqlite: dict[str, Any], redis_url: str, prefix: str, target: str, how: str, engine: str
) -> None:
    cache = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": redis_url, "KEY_PREFIX": prefix}
    old, at_close, other = sessions_of_django(
        sqlite,
        {"user": "ann", **DATA, "age": 3600},
        {"n": 1, "age": 0},
        {"user": "ann"},
        engine=engine,
        cache=cache,
    )
    if engine == "db":
        report = migrate(f"sqlite:///{sqlite['NAME']}?layout=django", target, source_secret=SECRET)
    else:
        source = f"{redis_url}?layout=django&prefix={prefix}:1:django.contrib.sessions.cache"
        report = migrate(source, target, source_codec="pickle")
    assert report == Report(copied=3)
    with moved(how, sqlite, target) as address:
        with httpx.Client(base_url=address, cookies={"sessionid": old}) as visitor:
            first = visitor.get("/").json()
            assert first["user"] == "ann" and first["owner"] == "1" and first["devices"] == 2
            assert first["data"] == {**DATA, "_session_expiry": 3600} and first["age"] == 3600
            assert first["keys"][0] == first["keys"][1] and len(first["keys"][0]) == 40
        new = visitor.cookies.get("sessionid", domain="127.0.0.1")
        assert new is not None
        assert old not in new
        with httpx.Client(base_url=address, cookies={"sessionid": new}) as visitor:
            again = visitor.get("/")
            assert again.json() == first
            assert "set-cookie" not in again.headers
        with httpx.Client(base_url=address, cookies={"sessionid": old}) as planted:
            assert planted.get("/").json()["user"] == ""
        with httpx.Client(base_url=address, cookies={"sessionid": at_close}) as visitor:
            sent = visitor.get("/ignore").headers["set-cookie"]  # though the view does not look at it
            assert "Max-Age" not in sent and "Expires" not in sent
        with httpx.Client(base_url=address, cookies={"sessionid": f"django:{other}"}) as visitor:
            assert visitor.get("/").json()["user"] == ""
    with (
        moved(how, sqlite, target, until="2026-01-01T00:00:00+00:00") as address,
        httpx.Client(base_url=address, cookies={"sessionid": other}) as late,
    ):
        assert late.get("/").json()["user"] == ""
