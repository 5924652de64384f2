"""A Django site on real servers, in processes of their own, with its sessions in a real store and its users in a real database."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest
import redis

from tests.processes import Running, serving

pytestmark = pytest.mark.server

ROOT = Path(__file__).parent.parent.parent
SITE = "tests.doors.django_site"
GUNICORN = ("-m", "gunicorn", "--bind", "127.0.0.1:0", f"{SITE}:application")
UVICORN = ("-m", "uvicorn", f"{SITE}:asgi_application", "--port", "0", "--lifespan", "off")
SERVERS = {
    "gunicorn that forks": (*GUNICORN, "--preload", "--workers", "2"),
    "gunicorn with threads": (*GUNICORN, "--threads", "4"),
    "uvicorn": UVICORN,
}
PAIRS = [
    ("gunicorn that forks", "postgres_store"),
    ("gunicorn with threads", "redis_store"),
    ("uvicorn", "redis_store"),
]
THEIRS = {
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
}


def environment(store: str, folder: Path, **settings: object) -> dict[str, str]:
    env = {
        "SESSION_STORE": store,
        "SITE_FOLDER": str(folder),
        "SITE_SETTINGS": json.dumps(settings),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }
    prepare = f"from {SITE} import prepare; prepare()"
    subprocess.run([sys.executable, "-c", prepare], cwd=ROOT, env={**os.environ, **env}, check=True)
    return env


@pytest.fixture(scope="module")
def redis_store(redis_url: str) -> Iterator[str]:
    prefix = f"test-{uuid.uuid4().hex}:"
    yield f"{redis_url}?prefix={prefix}"
    with redis.Redis.from_url(redis_url) as client:
        for name in client.scan_iter(f"*{prefix}*", 1000):
            client.delete(name)


@pytest.fixture(scope="module")
def postgres_store(postgres_url: str) -> Iterator[str]:
    table = f"sessions_{uuid.uuid4().hex}"
    yield f"{postgres_url}{'&' if '?' in postgres_url else '?'}table={table}&create_table=true"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {table}")


@pytest.fixture(scope="module", params=PAIRS, ids=[f"{server}, {store}" for server, store in PAIRS])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    server, store = request.param
    env = environment(request.getfixturevalue(store), tmp_path_factory.mktemp("site"))
    with serving(*SERVERS[server], cwd=ROOT, env=env) as running:
        yield running


@pytest.fixture
def visitor(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.address, timeout=60) as visitor:
        yield visitor


# django contract 37
@pytest.mark.parametrize("path", ["/count", "/acount"])
def test_requests_at_once_all_count(path: str, visitor: httpx.Client) -> None:
    visitor.get("/put?a=1")
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: visitor.get(path), range(16)))
    assert [answer.status_code for answer in answers] == [200] * 16
    assert visitor.get("/").json() == {"a": 1, "n": 16}


# django contract 62, 63, 64, 65
@pytest.mark.parametrize("path", ["/login", "/alogin"])
def test_somebody_logs_in_and_out(path: str, running: Running, visitor: httpx.Client) -> None:
    visitor.get("/put?cart=[1]")
    before = visitor.cookies["sessionid"]
    assert visitor.get(f"{path}?name=anna").status_code == 200
    assert visitor.cookies["sessionid"] != before and visitor.get("/").json()["cart"] == [1]
    with httpx.Client(base_url=running.address, timeout=60) as other:
        other.get("/login?name=anna")
        assert other.get("/whoami").text == "anna" and other.get("/devices").json()["this"] == 1
        assert visitor.get("/aend-others").text >= "1" and visitor.get("/awhoami").text == "anna"
        assert other.get("/whoami").text == "nobody"
    visitor.get("/logout")
    assert "sessionid" not in visitor.cookies and visitor.get("/whoami").text == "nobody"


# django contract 55
def test_a_login_in_a_response_that_fails_changes_nothing(visitor: httpx.Client) -> None:
    visitor.get("/put?a=1")
    assert visitor.get("/login?name=anna&status=500").status_code == 500
    assert visitor.get("/").json() == {"a": 1}


# django contract 57
@pytest.mark.parametrize("path", ["/stream", "/astream"])
def test_what_a_stream_changes_is_saved(path: str, visitor: httpx.Client) -> None:
    visitor.get("/put?n=0")
    assert visitor.get(path).text == "1 2 3 " and visitor.get("/").json() == {"n": 3}
    assert "A Django site" in visitor.get("/file").text and visitor.get("/").json() == {"n": 4}


# django contract 36
def test_a_store_that_fails_is_a_503_and_the_next_request_is_well(visitor: httpx.Client) -> None:
    visitor.get("/put?n=1")
    answer = visitor.get("/down")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.headers["Cache-Control"] == "no-store" and "sessionid" in visitor.cookies


# django contract 52
def test_a_proxy_that_ends_tls_needs_no_word_where_the_cookie_is_secure(redis_store: str, tmp_path: Path) -> None:
    env = environment(redis_store, tmp_path, SESSION_COOKIE_SECURE=True)
    with (
        serving(*GUNICORN, cwd=ROOT, env=env) as running,
        httpx.Client(base_url=running.address, timeout=60) as visitor,
    ):
        sent = visitor.get("/put?a=1").headers["Set-Cookie"]
        assert "; Secure" in sent
        cookie = {"cookie": sent.partition(";")[0]}  # as the proxy passes it on
        assert visitor.get("/", headers=cookie).json() == {"a": 1}


# django contract 2, 47, 56
@pytest.mark.parametrize("server", [GUNICORN, UVICORN], ids=["gunicorn", "uvicorn"])
def test_the_engine_works_alone_under_djangos_middleware(
    server: tuple[str, ...], redis_store: str, tmp_path: Path
) -> None:
    env = environment(redis_store, tmp_path, **THEIRS)
    with serving(*server, cwd=ROOT, env=env) as running, httpx.Client(base_url=running.address, timeout=60) as visitor:
        visitor.get("/put?a=1")
        assert re.fullmatch(r"[a-z2-7]{40}", visitor.cookies["sessionid"]), "unsigned, as Django sends it"
        before = visitor.cookies["sessionid"]
        visitor.get("/login?name=anna")
        assert visitor.cookies["sessionid"] != before and visitor.get("/whoami").text == "anna"
        assert visitor.get("/").json()["a"] == 1
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: visitor.get("/count"), range(8)))
        assert visitor.get("/").json()["n"] == 8, "parallel saves merge"
        assert visitor.get("/lose?b=1").status_code == 400, "as Django answers a lost session"
        visitor.get("/logout")
        assert visitor.get("/whoami").text == "nobody"


# django contract 2
def test_two_processes_share_the_sessions(postgres_store: str, tmp_path: Path) -> None:
    env = environment(postgres_store, tmp_path)
    with (
        serving(*GUNICORN, cwd=ROOT, env=env) as one,
        serving(*UVICORN, cwd=ROOT, env=env) as two,
        httpx.Client(timeout=60) as visitor,
    ):
        visitor.get(f"{one.address}/login?name=anna")
        assert visitor.get(f"{two.address}/awhoami").text == "anna"
        visitor.get(f"{two.address}/alogout")
        assert visitor.get(f"{one.address}/whoami").text == "nobody"
