"""Every example runs as its first line says, on a real server, and does what its routes promise."""

from __future__ import annotations

import asyncio
import importlib
import logging.config
import runpy
import sys
import warnings
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp.test_utils import TestClient, TestServer
from flask.testing import FlaskClient
from litestar.testing import TestClient as LitestarClient
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin
from webtest import TestApp

import sojourn.testing.aiohttp as testing_aiohttp
import sojourn.testing.litestar as testing_litestar
import sojourn.testing.pyramid as testing_pyramid
import sojourn.testing.quart as testing_quart
from sojourn.testing.flask import log_in, read_session, write_session
from tests.processes import serving

EXAMPLES = Path(__file__).parent.parent / "examples"
WSGI = (
    "import sys; sys.path.insert(0, '.')\n"
    "from wsgiref.simple_server import make_server\n"
    "from wsgi_app import app\n"
    "server = make_server('127.0.0.1', 0, app)\n"
    "print(f'http://127.0.0.1:{server.server_port}', flush=True)\n"
    "server.serve_forever()\n"
)
COMMANDS = {
    "aiohttp": ("aiohttp_app.py",),
    "fastapi": ("-m", "uvicorn", "fastapi_app:app", "--port", "0"),
    "flask": ("-m", "flask", "--app", "flask_login_app", "run", "--port", "0"),
    "litestar": ("-m", "uvicorn", "litestar_app:app", "--port", "0"),
    "pyramid": ("pyramid_app.py",),
    "quart": ("-m", "hypercorn", "quart_app:app", "--bind", "127.0.0.1:0"),
    "starlette": ("-m", "uvicorn", "starlette_app:app", "--port", "0"),
    "tornado": ("tornado_app.py",),
    "wsgi": ("-c", WSGI),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_an_example_sets_gets_counts_logs_in_and_out_and_survives_a_restart(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    env = {
        "SESSION_STORE": f"sqlite:///{tmp_path}/sessions.db",
        "PORT": "0",  # of aiohttp's, Pyramid's and Tornado's examples; the others are told on their command line
        "SESSION_SECRET": "a secret for tests of more than 32 bytes",
    }
    with serving(*command, cwd=EXAMPLES, env=env) as running, httpx.Client(base_url=running.address) as visitor:
        assert visitor.get("/get", params={"key": "colour"}).json() == {"colour": None}
        assert "set-cookie" not in visitor.get("/get", params={"key": "colour"}).headers
        visitor.get("/set", params={"key": "colour", "value": "grün"})
        assert visitor.get("/get", params={"key": "colour"}).json() == {"colour": "grün"}
        assert [visitor.get("/counter").json()["visits"] for _ in range(3)] == [1, 2, 3]
        assert visitor.get("/dashboard").status_code == 401
        before = dict(visitor.cookies)
        answer = visitor.get("/login", params={"name": "Ann"}, follow_redirects=True)
        assert answer.text == "Hello, Ann."
        assert dict(visitor.cookies) != before
        cookies = dict(visitor.cookies)
    with serving(*command, cwd=EXAMPLES, env=env) as running:
        with httpx.Client(base_url=running.address, cookies=cookies) as visitor:
            assert visitor.get("/dashboard").text == "Hello, Ann."
            assert visitor.get("/counter").json() == {"visits": 4}
            assert visitor.get("/logout").json() == {"logged_out": True}
        with httpx.Client(base_url=running.address, cookies=cookies) as visitor:
            assert visitor.get("/dashboard").status_code == 401
        with httpx.Client(base_url=running.address) as visitor:
            visitor.get("/counter")
            visitor.get("/destroy")
            assert not visitor.cookies
            assert visitor.get("/counter").json() == {"visits": 1}


class Browser:
    """What a visitor of the example with a login does, on whatever client."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def get(self, path: str) -> Any:
        return self.client.get(path, headers={"Accept": "text/html"})

    def visit(self) -> None:
        assert "<h1>1 visits</h1>" in self.get("/").text
        led = self.get("/dashboard")
        assert led.status_code == 303 and led.headers["location"] == "/login?next=/dashboard"
        before = dict(self.client.cookies)
        wrong = self.client.post(led.headers["location"], data={"name": "ann", "password": "plum"})
        assert "That is not right." in self.get(wrong.headers["location"]).text
        right = self.client.post(led.headers["location"], data={"name": "ann", "password": "pear"})
        assert right.headers["location"] == "/dashboard" and dict(self.client.cookies) != before
        page = self.get("/dashboard").text
        assert "Welcome, ann." in page and "Hello, ann" in page and 'value="black"' in page
        self.client.post("/colour", data={"colour": "<green>"})
        page = self.get("/dashboard").text
        assert "Saved." in page and 'value="&lt;green&gt;"' in page and "Welcome" not in page
        assert "<h1>2 visits</h1>" in self.get("/").text  # kept at the login
        self.client.post("/logout")
        page = self.get("/").text
        assert "Goodbye." in page and "<h1>1 visits</h1>" in page
        assert self.get("/dashboard").status_code == 303


def test_the_example_with_a_login_in_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION_STORE", f"sqlite:///{tmp_path}/sessions.db")
    app = runpy.run_path(str(EXAMPLES / "fastapi_login.py"))["app"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer ones of Starlette prefer another client
        from starlette.testclient import TestClient
    with TestClient(app, follow_redirects=False, base_url="https://testserver") as client:
        Browser(client).visit()


def test_the_example_with_a_login_over_a_server(tmp_path: Path) -> None:
    env = {"SESSION_STORE": f"sqlite:///{tmp_path}/sessions.db"}
    with (
        serving("-m", "uvicorn", "fastapi_login:app", "--port", "0", cwd=EXAMPLES, env=env) as running,
        httpx.Client(base_url=running.address) as client,
    ):
        Browser(client).visit()


def test_the_example_with_a_guarded_form_takes_it_from_its_own_page_alone(tmp_path: Path) -> None:
    env = {"SESSION_STORE": f"sqlite:///{tmp_path}/sessions.db"}
    command = ("-m", "uvicorn", "guarded_form:app", "--port", "0")
    with (
        serving(*command, cwd=EXAMPLES, env=env) as running,
        httpx.Client(base_url=running.address, follow_redirects=True) as visitor,
    ):
        assert '<p id="count">1</p>' in visitor.post("/notes", headers={"Sec-Fetch-Site": "same-origin"}).text
        evil = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
        refused = visitor.post("/notes", headers=evil)
        assert refused.status_code == 403 and "Origin: https://evil.example" in refused.text
        assert visitor.post("/hook", headers=evil).status_code == 204
        assert '<p id="count">1</p>' in visitor.get("/").text
        cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
        address = f"{running.address.replace('http', 'ws', 1)}/live"
        with connect(address, additional_headers={"Cookie": cookie}, origin=Origin(running.address)) as socket:
            assert socket.recv() == "1 notes"
        with pytest.raises(InvalidStatus) as caught:
            connect(address, additional_headers={"Cookie": cookie}, origin=Origin("https://evil.example"))
        assert caught.value.response.status_code == 403


def flask_client(monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """A client of Flask's example, in this process."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("SESSION_STORE", "memory://")
    monkeypatch.delitem(sys.modules, "flask_login_app", raising=False)
    client: FlaskClient = importlib.import_module("flask_login_app").app.test_client()
    return client


def test_the_example_for_flask_says_goodbye_and_forgets_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    client = flask_client(monkeypatch)
    assert [client.get("/counter").json for _ in range(2)] == [{"visits": 1}, {"visits": 2}]
    assert client.get("/dashboard").status_code == 401
    assert client.get("/login?name=Ann", follow_redirects=True).text == "Hello, Ann."
    assert client.get("/counter").json == {"visits": 3}
    client.get("/logout")
    assert client.get("/messages").json == {"messages": ["Goodbye."]}
    assert client.get("/messages").json == {"messages": []}
    assert client.get("/counter").json == {"visits": 1}


def test_the_session_of_a_client_of_flask_is_read_written_and_logged_in_in_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = flask_client(monkeypatch)
    assert read_session(client) == {}
    write_session(client, {"visits": 7})
    assert client.get("/counter").json == {"visits": 8}
    log_in(client, "Ann")
    assert client.get("/dashboard").text == "Hello, Ann."
    assert read_session(client)["visits"] == 8
    log_in(client, "Bob", base_url="https://localhost")
    assert client.get("/dashboard", base_url="https://localhost").text == "Hello, Bob."
    assert read_session(client, base_url="https://localhost")["_fresh"] is True


def test_the_example_for_pyramid_says_goodbye_and_a_client_s_session_takes_a_line_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("SESSION_STORE", "memory://")
    monkeypatch.delitem(sys.modules, "pyramid_app", raising=False)
    client = TestApp(importlib.import_module("pyramid_app").app)
    testing_pyramid.write_session(client, {"visits": 7})
    assert client.get("/counter").json == {"visits": 8}
    assert client.get("/dashboard", status=401).text == "Please log in."
    assert client.get("/login?name=Ann").follow().text == "Hello, Ann."
    assert testing_pyramid.read_session(client) == {"visits": 8}
    client.get("/logout")
    assert client.get("/messages").json == {"messages": ["Goodbye."]}
    assert client.get("/messages").json == {"messages": []}
    testing_pyramid.log_in(client, "Bob")
    assert client.get("/dashboard").text == "Hello, Bob."


def test_the_example_for_litestar_has_a_cart_messages_and_a_websocket_over_a_server(tmp_path: Path) -> None:
    env = {"SESSION_STORE": f"sqlite:///{tmp_path}/sessions.db"}
    with (
        serving(*COMMANDS["litestar"], cwd=EXAMPLES, env=env) as running,
        httpx.Client(base_url=running.address) as visitor,
    ):
        assert visitor.get("/counter").json() == {"visits": 1}
        assert [visitor.get("/cart/tent").json() for _ in range(2)] == [{"items": {"tent": n}} for n in (1, 2)]
        visitor.get("/login", params={"name": "Ann"})
        assert [visitor.get("/messages").json()["messages"] for _ in range(2)] == [["Welcome, Ann."], []]
        cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
        address = running.address.replace("http:", "ws:") + "/count"
        with connect(address, additional_headers={"Cookie": cookie}) as socket:
            for expected in ("2", "3"):
                socket.send("")
                assert socket.recv() == expected
        assert visitor.get("/counter").json() == {"visits": 4}
        assert visitor.get("/cart/tent").json() == {"items": {"tent": 3}}, "kept at the login"


def test_the_example_for_litestar_in_process_with_a_client_s_session_in_a_line_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("SESSION_STORE", "memory://")
    monkeypatch.delitem(sys.modules, "litestar_app", raising=False)
    monkeypatch.setattr(logging.config, "dictConfig", lambda _config: None)  # Litestar's would outlive the test
    with LitestarClient(importlib.import_module("litestar_app").app) as client:
        testing_litestar.write_session(client, {"visits": 5})
        assert client.get("/counter").json() == {"visits": 6}
        assert client.get("/dashboard").status_code == 401
        testing_litestar.log_in(client, "Ann")
        assert client.get("/dashboard").text == "Hello, Ann."
        assert testing_litestar.read_session(client) == {"visits": 6}
        client.get("/logout")
        assert testing_litestar.read_session(client) == {}


def test_the_example_for_quart_flashes_and_counts_over_a_websocket(tmp_path: Path) -> None:
    env = {"SESSION_STORE": f"sqlite:///{tmp_path}/sessions.db"}
    with (
        serving(*COMMANDS["quart"], cwd=EXAMPLES, env=env) as running,
        httpx.Client(base_url=running.address) as visitor,
    ):
        assert visitor.get("/counter").json() == {"visits": 1}
        said = visitor.get("/flash", params={"message": "saved"}, follow_redirects=True)
        assert said.json() == {"messages": ["saved"]}
        assert visitor.get("/messages").json() == {"messages": []}
        cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
        address = running.address.replace("http:", "ws:") + "/count"
        with connect(address, additional_headers={"Cookie": cookie}) as socket:
            for expected in ("2", "3"):
                socket.send("")
                assert socket.recv() == expected
        assert visitor.get("/counter").json() == {"visits": 4}


def test_the_example_for_quart_in_process_with_a_client_s_session_in_a_line_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("SESSION_STORE", "memory://")
    monkeypatch.delitem(sys.modules, "quart_app", raising=False)

    async def visit() -> None:
        client = importlib.import_module("quart_app").app.test_client()
        await testing_quart.write_session(client, {"visits": 5})
        assert await (await client.get("/counter")).get_json() == {"visits": 6}
        assert (await client.get("/dashboard")).status_code == 401
        await testing_quart.log_in(client, "Ann")
        assert await (await client.get("/dashboard")).get_data(as_text=True) == "Hello, Ann."
        assert await testing_quart.read_session(client) == {"visits": 6}
        await client.get("/logout")
        assert await testing_quart.read_session(client) == {}

    asyncio.run(visit())


@pytest.mark.parametrize(
    "command",
    [
        COMMANDS["aiohttp"],
        ("-m", "gunicorn", "aiohttp_app:make_app", "-k", "aiohttp.GunicornWebWorker", "--bind", "127.0.0.1:0"),
    ],
    ids=["run_app", "gunicorn"],
)
def test_the_example_for_aiohttp_streams_counts_over_a_websocket_and_begins_anew(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    env = {"SESSION_STORE": f"sqlite:///{tmp_path}/sessions.db", "PORT": "0"}
    with serving(*command, cwd=EXAMPLES, env=env) as running, httpx.Client(base_url=running.address) as visitor:
        assert visitor.get("/stream").text == "a long text"
        assert visitor.get("/get", params={"key": "streamed"}).json() == {"streamed": True}
        assert visitor.get("/counter").json() == {"visits": 2}
        cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
        address = running.address.replace("http:", "ws:") + "/count"
        with connect(address, additional_headers={"Cookie": cookie}) as socket:
            for expected in ("3", "4"):
                socket.send("")
                assert socket.recv() == expected
        assert visitor.get("/begin").json() == {"began": True}
        assert visitor.get("/counter").json() == {"visits": 101}
        assert visitor.get("/counter", headers={"Cookie": cookie}).json() == {"visits": 1}


def test_the_example_for_aiohttp_in_process_with_a_client_s_session_in_a_line_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("SESSION_STORE", "memory://")
    monkeypatch.delitem(sys.modules, "aiohttp_app", raising=False)

    async def visit() -> None:
        app = await importlib.import_module("aiohttp_app").make_app()
        async with TestClient(TestServer(app)) as client:
            await testing_aiohttp.write_session(client, {"visits": 5})
            assert await (await client.get("/counter")).json() == {"visits": 6}
            assert (await client.get("/dashboard")).status == 401
            await testing_aiohttp.log_in(client, "Ann")
            assert await (await client.get("/dashboard")).text() == "Hello, Ann."
            assert await testing_aiohttp.read_session(client) == {"visits": 6}
            await client.get("/logout")
            assert await testing_aiohttp.read_session(client) == {}

    asyncio.run(visit())
