"""The programs on docs/frameworks/others.md, each on a real server, and what their frameworks do that matters to a session."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.processes import serving
from tests.servers import free_port

pytestmark = pytest.mark.server  # of the Web

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "frameworks" / "others.md"
ENV = {
    "SESSION_SECRET": "a secret for tests of more than 32 bytes",
    "PYTHONPATH": str(ROOT / "src"),
    "PYTHONUNBUFFERED": "1",
}
NO_NETWORK = re.compile("error sending request|dns error|failed to lookup|failed to fetch|timed out", re.IGNORECASE)

UVICORN = ("-m", "uvicorn", "shop:app", "--port", "{port}")
GUNICORN = ("-m", "gunicorn", "--threads", "4", "--bind", "127.0.0.1:{port}", "shop:app")
# Programs that print where they will be, as these servers say nothing, or something else.
TOLD = "print('http://127.0.0.1:{port}', flush=True);"
WAITRESS = ("-c", f"{TOLD} from waitress import serve; from shop import app; serve(app, listen='127.0.0.1:{{port}}')")
BOTTLE = (
    "-c",
    f"{TOLD} import bottle; from shop import app; bottle.run(app=app, host='127.0.0.1', port={{port}}, quiet=True)",
)
_CHERRYPY = (
    f"{TOLD} import cherrypy; from shop import app; cherrypy.tree.graft(app, '/');"
    "cherrypy.config.update({{'server.socket_port': {port}}}); cherrypy.engine.start(); cherrypy.engine.block()"
)
CHERRYPY = ("-c", _CHERRYPY)
SANIC = ("-m", "sanic", "shop:app", "--host", "127.0.0.1", "--port", "{port}", "--single-process")

PROGRAMS = {
    # by the first line that only it has
    "falcon": ("import falcon\n", WAITRESS),
    "falcon asgi": ("import falcon.asgi\n", UVICORN),
    "bottle": ("import bottle\n", BOTTLE),
    "bottle on gunicorn": ("import bottle\n", GUNICORN),
    "cherrypy": ("import cherrypy\n", CHERRYPY),
    "cherrypy on waitress": ("import cherrypy\n", WAITRESS),
    "django wsgi": ("get_wsgi_application\n", GUNICORN),
    "django asgi": ("get_asgi_application\n", UVICORN),
}
APART = {
    "blacksheep": ("from blacksheep import", UVICORN),
    "sanic asgi": ('shop = Sanic("shop")', UVICORN),
    "sanic": ('app = Sanic("shop")', SANIC),
    "robyn": ("from robyn import", ("shop.py",)),
}
BLOCK = re.compile(r"^```(?:python|\{code-block\} python\n:class: [\w-]+\n)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def program(mark: str) -> str:
    """The page's program that has this in it."""
    source: str
    (source,) = [source for source in BLOCK.findall(PAGE.read_text(encoding="utf-8")) if mark in source]
    return source


@contextmanager
def shop(source: str, command: tuple[str, ...], folder: Path, python: str | Path = sys.executable) -> Iterator[Any]:
    """A program of the page on a server; yields the address once it answers."""
    (folder / "shop.py").write_text(source, encoding="utf-8")
    port = str(free_port())
    arguments = [part.format(port=port) for part in command]
    with serving(*arguments, cwd=folder, env={**ENV, "PORT": port}, python=python) as running:
        deadline = time.monotonic() + 60
        while True:  # an address that was printed may be one that is yet to be listened at
            try:
                httpx.get(running.address, timeout=30)
            except httpx.TransportError:
                assert running.process.poll() is None and time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.05)
            else:
                break
        yield running.address
        if "from robyn" in source:  # which does not end when it is told to
            running.process.kill()
            running.process.wait(20)


def visit(address: str) -> None:
    """Be several visitors of a shop that counts their visits."""
    with httpx.Client(base_url=address, timeout=30) as visitor:
        first = visitor.get("/")
        assert first.json() == {"visits": 1}
        assert first.headers["set-cookie"].startswith("sid=") and "HttpOnly" in first.headers["set-cookie"]
        second = visitor.get("/")
        assert second.json() == {"visits": 2} and "set-cookie" not in second.headers
        assert "Cookie" in second.headers["vary"]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: visitor.get("/"), range(12)))
        assert visitor.get("/").json() == {"visits": 15}
        missing = visitor.get("/nowhere")
        assert missing.status_code == 404 and "set-cookie" not in missing.headers
        with httpx.Client(base_url=address, timeout=30) as other:
            assert other.get("/").json() == {"visits": 1}
        stolen = dict(visitor.cookies)
        left = visitor.get("/logout")
        assert 301 <= left.status_code <= 303 and "Max-Age=0" in left.headers["set-cookie"]
        assert visitor.get("/").json() == {"visits": 1}
    with httpx.Client(base_url=address, timeout=30, cookies=stolen) as thief:
        assert thief.get("/").json() == {"visits": 1}


# others contract 1, 2, 5, 7, 15
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_of_the_page_on_a_server(name: str, tmp_path: Path) -> None:
    mark, command = PROGRAMS[name]
    with shop(program(mark), command, tmp_path) as address:
        visit(address)
    assert (tmp_path / "sessions.db").exists()


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the frameworks that are in none of the others."""
    folder = tmp_path_factory.mktemp("apart")
    uv = (sys.executable, "-m", "uv", "--quiet")
    subprocess.run([*uv, "venv", "--python", sys.executable, folder / "venv"], check=True, timeout=120)
    python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pins = Path(__file__).parent / "frameworks_apart.txt"
    install = [*uv, "pip", "install", "--python", str(python), "--requirements", str(pins)]
    done = subprocess.run([*install, "--offline"], capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:  # not all is in uv's cache
        done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode and NO_NETWORK.search(done.stderr):
        pytest.skip("BlackSheep, Robyn and Sanic were not installed: no network, and not all is in uv's cache")
    assert done.returncode == 0, done.stderr
    return python


# others contract 8, 9, 10, 16
@pytest.mark.package
@pytest.mark.parametrize("name", APART)
def test_a_program_of_the_page_in_an_environment_of_its_own(name: str, apart: Path, tmp_path: Path) -> None:
    mark, command = APART[name]
    with shop(program(mark), command, tmp_path, apart) as address:
        visit(address)
    assert (tmp_path / "sessions.db").exists()


SANIC_MORE = """
@app.get("/stream")
async def stream(request):
    request.ctx.session["early"] = True
    response = await request.respond()
    await response.send("one")
    request.ctx.session["late"] = True
    await response.send("two")
    await response.eof()


@app.get("/fail")
async def fail(request):
    request.ctx.session["failed"] = True
    raise ZeroDivisionError


@app.get("/show")
async def show(request):
    return json(dict(request.ctx.session))


@app.websocket("/socket")
async def socket(request, ws):
    while True:
        await ws.recv()
        request.ctx.session.increment("visits")
        try:
            await request.ctx.session.save()
        except Exception as error:
            await ws.send(type(error).__name__)
        else:
            await ws.send(str(request.ctx.session["visits"]))


@app.get("/down")
async def down(request):
    async def create(*args, **kwargs):
        del sessions.store.create
        from sojourn import StoreUnavailable

        raise StoreUnavailable("down")

    sessions.store.create = create
    request.ctx.session["n"] = 1
    return json({})
"""


# others contract 11, 12
@pytest.mark.package
def test_sanic_s_hooks_save_streams_and_errors_and_know_sockets(apart: Path, tmp_path: Path) -> None:
    mark, command = APART["sanic"]
    with shop(program(mark) + SANIC_MORE, command, tmp_path, apart) as address:
        with httpx.Client(base_url=address, timeout=30) as visitor:
            answer = visitor.get("/stream")
            assert answer.text == "onetwo" and "set-cookie" in answer.headers
            assert visitor.get("/fail").status_code == 500
            assert visitor.get("/show").json() == {"early": True, "late": True, "failed": True}
            assert visitor.get("/").json() == {"visits": 1}
            cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
            with connect(address.replace("http:", "ws:") + "/socket", additional_headers={"Cookie": cookie}) as socket:
                socket.send("")
                assert socket.recv() == "2"
            assert visitor.get("/").json() == {"visits": 3}
        with connect(address.replace("http:", "ws:") + "/socket") as socket:
            socket.send("")
            assert socket.recv() == "HeadersAlreadySent"
        with httpx.Client(base_url=address, timeout=30) as visitor:
            answer = visitor.get("/down")
            assert answer.status_code == 503 and "set-cookie" not in answer.headers
            assert visitor.get("/").json() == {"visits": 1}


FALCON_MORE = """
class Stream:
    async def on_get(self, req, resp):
        session = req.context.session
        session["early"] = True

        async def body():
            yield b"one"
            session["late"] = True
            yield b"two"

        resp.stream = body()


class Events:
    async def on_get(self, req, resp):
        session = req.context.session

        async def events():
            for number in range(2):
                session["events"] = number
                yield falcon.asgi.SSEvent(json={"number": number})

        resp.sse = events()


class Fail:
    async def on_get(self, req, resp):
        req.context.session["half"] = True
        raise ZeroDivisionError


class Forbidden:
    async def on_get(self, req, resp):
        req.context.session["forbidden"] = True
        raise falcon.HTTPForbidden


class Show:
    async def on_get(self, req, resp):
        resp.media = dict(req.context.session)


for path, resource in {"/stream": Stream, "/events": Events, "/fail": Fail, "/forbidden": Forbidden, "/show": Show}.items():
    shop.add_route(path, resource())
"""


# others contract 3, 4
def test_falcon_s_streams_events_errors_and_sockets(tmp_path: Path) -> None:
    mark, command = PROGRAMS["falcon asgi"]
    with shop(program(mark) + FALCON_MORE, command, tmp_path) as address:
        with httpx.Client(base_url=address, timeout=30) as visitor:
            answer = visitor.get("/stream")
            assert answer.text == "onetwo" and "set-cookie" in answer.headers
            assert visitor.get("/events").text.count("data:") == 2
            assert visitor.get("/forbidden").status_code == 403
            assert visitor.get("/show").json() == {"early": True, "late": True, "events": 1, "forbidden": True}
            assert visitor.get("/fail").status_code == 500
        socket_address = address.replace("http:", "ws:") + "/"
        with connect(socket_address) as socket:
            assert socket.response is not None
            cookie = socket.response.headers["set-cookie"].partition(";")[0]
            socket.send("")
            assert socket.recv() == "1"
        with connect(socket_address, additional_headers={"Cookie": cookie}) as socket:
            assert socket.response is not None and "set-cookie" not in socket.response.headers
            socket.send("")
            assert socket.recv() == "2"
        shown = httpx.get(f"{address}/show", headers={"Cookie": cookie}, timeout=30)
        assert shown.json() == {"socket": True, "visits": 2}


BOTTLE_MORE = """
@shop.get("/fail")
def fail(session: Session) -> None:
    session["failed"] = True
    raise ZeroDivisionError


@shop.get("/show")
def show(session: Session) -> dict[str, Any]:
    return dict(session)


@shop.get("/none")
def none() -> str:
    return "no parameter"
"""


# others contract 5, 6
@pytest.mark.parametrize("catches", [True, False])
def test_bottle_makes_a_response_of_an_exception_unless_it_is_told_not_to(catches: bool, tmp_path: Path) -> None:
    mark, command = PROGRAMS["bottle on gunicorn"]
    source = program(mark) + BOTTLE_MORE
    if not catches:
        source = source.replace("bottle.Bottle()", "bottle.Bottle(catchall=False)")
    with (
        shop(source, command, tmp_path) as address,
        httpx.Client(base_url=address, timeout=30) as visitor,
    ):
        visitor.get("/")
        assert visitor.get("/none").text == "no parameter"
        assert visitor.get("/fail").status_code == 500
        assert visitor.get("/show").json() == ({"visits": 1, "failed": True} if catches else {"visits": 1})


TORNADO_MORE = """
from examples.tornado_sessions import SessionHandler


class Front(SessionHandler):
    def get(self) -> None:
        self.write({"visits": self.session.increment("visits")})


async def main() -> None:
    sessions = AsyncSessionDriver(secret=os.environ["SESSION_SECRET"], store="sqlite:///sessions.db")
    shop = Application([("/", Front), ("/count", Count)], sessions=sessions)
    shop.listen(int(os.environ["PORT"]), "127.0.0.1")
    print("http://127.0.0.1:" + os.environ["PORT"], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
"""


# others contract 13, 14
def test_a_socket_of_tornado_s_counts_in_the_session_of_its_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENV, "PYTHONPATH", os.pathsep.join([str(ROOT / "src"), str(ROOT)]))
    source = program("WebSocketHandler").partition("\nasync def main")[0] + TORNADO_MORE
    with shop(source, ("shop.py",), tmp_path) as address, httpx.Client(base_url=address, timeout=30) as visitor:
        assert visitor.get("/").json() == {"visits": 1}
        cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
        with connect(address.replace("http:", "ws:") + "/count", additional_headers={"Cookie": cookie}) as socket:
            for expected in ("2", "3"):
                socket.send("")
                assert socket.recv() == expected
            assert visitor.get("/").json() == {"visits": 4}
            socket.send("")
            assert socket.recv() == "5", "merged with what the request has stored"
