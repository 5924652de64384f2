"""The door of Litestar over real servers: two processes, one store."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.processes import serving

HERE = Path(__file__).parent
SERVERS = {
    "uvicorn": ("-m", "uvicorn", "litestar_served:app", "--port", "0"),
    "hypercorn": ("-m", "hypercorn", "litestar_served:app", "--bind", "127.0.0.1:0"),
}


def wait_for(client: httpx.Client, kept: dict[str, object]) -> None:
    """Wait until this is the session: what is late may be saved a moment after the last byte."""
    found: object = None
    for _ in range(1000):
        found = client.get("/all").json()
        if found == kept:
            return
        time.sleep(0.01)
    assert found == kept


@pytest.mark.server
# litestar contract 19, 23, 27, 30
def test_over_servers_two_processes_share_the_sessions_and_do_what_is_done_in_process(redis_url: str) -> None:
    env = {
        "SESSION_STORE": f"{redis_url}?prefix=test-{uuid.uuid4().hex}:",
        "SESSION_SECRET": "a secret that is long enough for everybody",
    }
    with (
        serving(*SERVERS["uvicorn"], cwd=HERE, env=env) as one,
        serving(*SERVERS["hypercorn"], cwd=HERE, env=env) as two,
        httpx.Client(base_url=one.address) as first,
        httpx.Client(base_url=two.address) as second,
    ):

        def same() -> None:
            second.cookies = first.cookies

        assert first.get("/me").status_code == 401 and not first.cookies
        first.get("/cart")
        same()
        assert second.get("/me").status_code == 401, "which leaves the cart alone"
        assert second.get("/all").json() == {"cart": ["tent"]}
        before = first.cookies["sid"]
        first.get("/login")
        assert first.cookies["sid"] != before
        same()
        assert second.get("/me").text == "ann"
        second.get("/late")
        assert first.get("/stream").text == "012"
        late = {"cart": ["tent"], "user": "ann", "worked": True, "streamed": 2}
        wait_for(second, late)
        for client in (first, second):
            address = str(client.base_url).replace("http", "ws").rstrip("/") + "/ws"
            with pytest.raises(InvalidStatus, match="403"):
                connect(address)
            with connect(address, additional_headers={"Cookie": f"sid={first.cookies['sid']}"}) as socket:
                socket.send("hello")
                assert socket.recv() == "ann: hello"
        wait_for(first, {**late, "said": "hello"})
        kept = dict(first.cookies)
        second.get("/logout")
        for client in (first, second):
            client.cookies.clear()
            client.cookies.update(kept)
            assert client.get("/me").status_code == 401 and client.get("/all").json() == {}
            client.cookies.clear()
            assert client.get("/cached").cookies.get("sid")
            assert client.get("/all").json() == {"visitor": "the first"}
            client.cookies.clear()
            again = client.get("/cached")
            assert again.text == "the same for everybody" and "set-cookie" not in again.headers
            assert client.get("/all").json() == {}
