"""``sojourn dashboard``: on this machine alone, for one browser, until a signal."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sojourn.admin import Admin
from sojourn.cli import main
from sojourn.dashboard.serve import serving
from sojourn.errors import ConfigurationError
from sojourn.stores import MemoryStore, SQLiteStore
from tests.dashboard.sites import browse, settings_of
from tests.processes import serving as running_program


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def address(store: MemoryStore) -> Iterator[str]:
    server, address = serving(Admin(store, settings_of(store)), "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield address
    server.shutdown()
    server.server_close()


def test_the_address_lets_one_browser_in_and_no_other(address: str, store: MemoryStore) -> None:
    browse(store, "ann")
    base = address.partition("/?")[0]
    with httpx.Client(base_url=base) as operator, httpx.Client(base_url=base) as other:
        assert operator.get("/").status_code == 403
        assert operator.get("/?token=guessed").status_code == 403
        into = operator.get(address)
        assert (into.status_code, into.headers["location"]) == (303, "/")
        cookie = into.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        assert operator.get("/sessions?owner=ann").status_code == 200
        for request in (address, "/", "/dashboard.css"):
            assert other.get(request).status_code == 403
        name = cookie.partition("=")[0]
        for bad in (f"{name}=x", f"{name}=", f"{name}=\xe9", "=;=,", "\x01"):
            assert other.get("/", headers=[(b"Cookie", bad.encode("latin-1"))]).status_code == 403
        ended = operator.post("/owner/end", data={"owner": "ann"}, headers={"Origin": base})
        assert ended.status_code == 303 and store.count() == 0


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8300", "127.0.0.1.evil.example", "", "[::", "10.0.0.1"])
def test_a_page_that_has_its_name_resolved_to_this_machine_gets_nothing(address: str, host: str) -> None:
    with httpx.Client(base_url=address.partition("/?")[0]) as operator:
        operator.get(address)
        assert operator.get("/").status_code == 200
        assert operator.get("/", headers={"Host": host}).status_code in (400, 403)
        assert operator.get("/", headers={"Host": "localhost:1"}).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", ""])
def test_other_machines_are_never_listened_to(host: str, store: MemoryStore) -> None:
    with pytest.raises(ConfigurationError, match=r"^--host: got"):
        serving(Admin(store, settings_of(store)), host, 0)


def test_ipv6_has_a_loopback_too(store: MemoryStore) -> None:
    try:
        server, address = serving(Admin(store, settings_of(store)), "::1", 0)
    except OSError:
        pytest.skip("this machine has no IPv6")
    server.server_close()
    assert address.startswith("http://[::1]:")


def test_the_command_says_where_and_ends_on_a_signal(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "sessions.db")
    browse(store, "ann")
    store.close()
    command = ("-m", "sojourn", "dashboard", "--port", "0")
    env = {"SOJOURN_STORE": f"sqlite:///{tmp_path}/sessions.db"}
    with running_program(*command, cwd=tmp_path, env=env) as running:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", running.address)
        assert httpx.get(f"{running.address}/").status_code == 403
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(20) == 0


def test_the_command_refuses_other_addresses(tmp_path: Path, capsys: Any) -> None:
    SQLiteStore(tmp_path / "sessions.db").open()
    assert main(["dashboard", "--host", "0.0.0.0", "--store", f"sqlite:///{tmp_path}/sessions.db"]) == 2
    assert "behind its own guard" in capsys.readouterr().err
