"""The door of FastAPI over a real server."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.processes import serving

HERE = Path(__file__).parent


def wait_for(client: httpx.Client, kept: dict[str, object]) -> None:
    """Wait until this is the session: what is late may be saved a moment after the last byte."""
    found: object = None
    for _ in range(100):
        found = client.get("/all").json()
        if found == kept:
            return
        time.sleep(0.01)
    assert found == kept


def test_over_uvicorn_everything_is_saved_that_is_saved_in_process(tmp_path: Path) -> None:
    env = {
        "SESSION_STORE": f"sqlite:///{tmp_path}/sessions.db",
        "SESSION_SECRET": "a secret that is long enough for everybody",
    }
    command = ("-m", "uvicorn", "fastapi_served:app", "--port", "0")
    with serving(*command, cwd=HERE, env=env) as running, httpx.Client(base_url=running.address) as client:
        scheme = client.get("/openapi.json").json()["components"]["securitySchemes"]["session"]
        assert scheme == {"type": "apiKey", "in": "cookie", "name": "sid"}
        assert client.get("/me").status_code == 401
        address = running.address.replace("http", "ws") + "/ws"
        with pytest.raises(InvalidStatus, match="403"):
            connect(address)
        assert [client.get("/cart/pear").json()["items"] for _ in range(2)] == [{"pear": 1}, {"pear": 2}]
        client.get("/late")
        assert client.get("/stream").text == "012"
        late = {"cart": {"items": {"pear": 2, "streamed": 2}}, "closed": True, "saved": True, "worked": True}
        wait_for(client, late)
        before = client.cookies["sid"]
        client.get("/login")
        assert client.cookies["sid"] != before and client.get("/me").json() == "ann"
        with connect(address, additional_headers={"Cookie": f"sid={client.cookies['sid']}"}) as socket:
            socket.send("hello")
            assert socket.recv() == "ann: hello"
        wait_for(client, {**late, "said": "hello"})
