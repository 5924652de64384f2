"""A Pyramid site under real servers, with its sessions in real stores."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import redis

from tests.processes import Running, serving
from tests.stores.postgres_schema import postgres_schema

pytestmark = pytest.mark.server

ROOT = Path(__file__).parent.parent.parent
ENV = {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
SITE = "tests.doors.pyramid_site"
WAITRESS = (
    f"from waitress.server import create_server; from {SITE} import app;"
    "server = create_server(app, host='127.0.0.1', port=0);"
    "print('http://127.0.0.1:%s' % server.effective_port, flush=True); server.run()"
)
SERVERS = {
    "gunicorn": ("-m", "gunicorn", "--workers", "2", "--threads", "4", "--bind", "127.0.0.1:0", f"{SITE}:app"),
    "waitress": ("-c", WAITRESS),
}


@pytest.fixture(scope="module")
def redis_store(redis_url: str) -> Iterator[str]:
    prefix = f"test-{uuid.uuid4().hex}:"
    yield f"{redis_url}?prefix={prefix}"
    with redis.Redis.from_url(redis_url) as client:
        for name in client.scan_iter(f"*{prefix}*", 1000):
            client.delete(name)


@pytest.fixture(scope="module")
def postgres_store(postgres_url: str) -> Iterator[str]:
    with postgres_schema(postgres_url) as schema:
        yield f"{postgres_url}{'&' if '?' in postgres_url else '?'}create_table=true&table={schema.name}.session"


# Each server with one of the stores.
@pytest.fixture(scope="module", params=[("gunicorn", "redis_store"), ("waitress", "postgres_store")], ids="-".join)
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    server, store = request.param
    env = {**ENV, "SESSION_STORE": request.getfixturevalue(store)}
    with serving(*SERVERS[server], cwd=ROOT, env=env) as running:
        yield running


@pytest.fixture
def visitor(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.address, timeout=30) as visitor:
        yield visitor


# pyramid contract 11
def test_requests_at_once_all_count_and_a_login_keeps_the_count(visitor: httpx.Client) -> None:
    visitor.get("/count")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: visitor.get("/count"), range(15)))
    before = dict(visitor.cookies)
    assert visitor.get("/enter", params={"name": "ann"}).json() == "ann"
    assert dict(visitor.cookies) != before
    assert visitor.get("/show").json() == {"n": 16}
    stolen = dict(visitor.cookies)
    visitor.get("/leave")
    with httpx.Client(base_url=str(visitor.base_url), cookies=stolen) as thief:
        assert thief.get("/show").json() == {}


# pyramid contract 12, 13, 15
def test_streams_files_attempts_and_faults(visitor: httpx.Client) -> None:
    assert visitor.get("/stream").text == "1 2 3 "
    assert "A Pyramid site for real servers" in visitor.get("/file").text
    assert visitor.get("/twice").json() == 5
    assert visitor.get("/crash").status_code == 500
    assert visitor.get("/unstorable").status_code == 500
    assert visitor.head("/stream").status_code == 200
    assert visitor.get("/nowhere").status_code == 404
    assert visitor.get("/nothing").json() is None
    failed = visitor.get("/fail")
    assert (failed.status_code, failed.text) == (503, "our shop is down")
    assert visitor.get("/show").json() == {"n": 5}


INI = """
[app:main]
use = call:tests.doors.pyramid_site:main
sojourn.secret =
    env:SHOP_SECRET
    an older secret, which is still of use
sojourn.store = sqlite:///%(here)s/sessions.db
sojourn.idle_timeout = 1800
sojourn.cookie.samesite = strict
sojourn.exclude = /static

[server:main]
use = egg:gunicorn#main
host = 127.0.0.1
port = 0
"""


# pyramid contract 20
def test_pserve_runs_a_site_as_its_ini_file_says(tmp_path: Path) -> None:
    (tmp_path / "site.ini").write_text(INI, encoding="utf-8")
    env = {**ENV, "SHOP_SECRET": "a secret that is in the environment alone"}
    pserve = ("-c", "from pyramid.scripts.pserve import main; main()", "site.ini")
    with serving(*pserve, cwd=tmp_path, env=env) as running, httpx.Client(base_url=running.address) as visitor:
        answer = visitor.get("/count")
        assert answer.json() == 1 and "SameSite=Strict" in answer.headers["Set-Cookie"]
        assert visitor.get("/count").json() == 2
    assert (tmp_path / "sessions.db").exists()
