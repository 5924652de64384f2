"""A Flask site under real servers: streams, files, failures of the store, and a proxy in front of it."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import pytest

from tests.processes import serving

ROOT = Path(__file__).parent.parent.parent
SITE = "tests.doors.flask_site"
WAITRESS = (
    f"from waitress.server import create_server; from {SITE} import app;"
    "server = create_server(app, host='127.0.0.1', port=0, clear_untrusted_proxy_headers=False);"
    "print('http://127.0.0.1:%s' % server.effective_port, flush=True); server.run()"
)
SERVERS = {
    "werkzeug": ("-m", "flask", "--app", f"{SITE}:app", "run", "--port", "0"),
    "gunicorn": ("-m", "gunicorn", "--bind", "127.0.0.1:0", f"{SITE}:app"),
    "gunicorn with threads": ("-m", "gunicorn", "--bind", "127.0.0.1:0", "--threads", "4", f"{SITE}:app"),
    "waitress": ("-c", WAITRESS),
}


# flask contract 5, 8, 27
@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS)
def test_a_site_streams_sends_files_and_fails_as_it_should(command: tuple[str, ...], tmp_path: Path) -> None:
    env = {"SESSION_FILE": str(tmp_path / "sessions.db"), "PYTHONPATH": ":".join([str(ROOT), *sys.path])}
    with serving(*command, cwd=ROOT, env=env) as running, httpx.Client(base_url=running.address) as visitor:
        assert visitor.get("/count").text == "1"
        assert visitor.get("/stream").text == "2 3 4 "
        assert visitor.get("/count").text == "5"
        assert "A Flask site for real servers" in visitor.get("/file").text
        assert visitor.head("/stream").status_code == 200
        answer = visitor.get("/fail")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert visitor.get("/count").text == "7"
        proxied = visitor.get("/count", headers={"X-Forwarded-Proto": "https"})
        assert proxied.text == "1"
        assert proxied.headers["Set-Cookie"].startswith("__Host-session=")
