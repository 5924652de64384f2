"""Every example runs as its first line says, on a real server, and does what its routes promise."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

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
    "fastapi": ("-m", "uvicorn", "fastapi_app:app", "--port", "0"),
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
        "PORT": "0",  # of Tornado's example; the others are told on their command line
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
