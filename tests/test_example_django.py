"""The project for Django runs as its first lines say: by one command, under gunicorn and under uvicorn, with its own tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Self

import httpx
import pytest

from tests.processes import serving

PROJECT = Path(__file__).parent.parent / "examples" / "django_project"
COMMANDS = {
    "one command": ("manage.py",),
    "gunicorn": ("-m", "gunicorn", "project.wsgi", "--bind", "127.0.0.1:0"),
    "uvicorn": ("-m", "uvicorn", "project.asgi:application", "--lifespan", "off", "--port", "0"),
}
_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {
        "SESSION_STORE": f"sqlite:///{tmp_path}/sessions.db",
        "DATABASE": f"{tmp_path}/db.sqlite3",
        "PORT": "0",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def manage(command: str, env: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "manage.py", command],
        cwd=PROJECT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_its_own_tests_pass(env: dict[str, str]) -> None:
    assert "Ran 5 tests" in manage("test", env)


def test_there_is_nothing_to_check(env: dict[str, str]) -> None:
    assert "no issues" in manage("check", env)


class Visitor:
    """Somebody with a browser."""

    def __init__(self, address: str) -> None:
        self.client = httpx.Client(
            base_url=address, follow_redirects=True, timeout=60
        )  # gunicorn listens before it is ready

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def get(self, path: str) -> str:
        return self.client.get(path).text

    def send(self, form: str, to: str, **data: str) -> str:
        """Send a form that is on a page."""
        token = _TOKEN.search(self.get(form))
        assert token is not None
        return self.client.post(to, data={"csrfmiddlewaretoken": token[1], **data}).text

    def log_in(self, name: str, password: str) -> str:
        return self.send("/login/", "/login/", username=name, password=password)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_visitor_counts_logs_in_sees_a_dashboard_and_the_admin_and_logs_out(
    command: tuple[str, ...], env: dict[str, str]
) -> None:
    if command != COMMANDS["one command"]:
        manage("prepare", env)
    with (
        serving(*command, cwd=PROJECT, env=env) as running,
        Visitor(running.address) as visitor,
        Visitor(running.address) as other,
    ):
        assert "1 visit<" in visitor.get("/") and "--moss" in visitor.get("/static/style.css")
        assert visitor.client.get("/counter/").json() == {"visits": 2}
        assert "Your colour is slate now." in visitor.send("/", "/colour/", colour="slate")
        assert visitor.client.get("/dashboard/").url.query == b"next=/dashboard/"
        assert "That is not right." in visitor.log_in("ann", "plum")
        before = visitor.client.cookies["sessionid"]
        page = visitor.log_in("ann", "pear")
        assert "Welcome, ann." in page and "Hello, ann" in page and 'body class="slate"' in page
        assert visitor.client.cookies["sessionid"] != before
        assert "Another device" not in page and "Welcome" not in visitor.get("/dashboard/")
        assert visitor.client.get("/admin/").url.path == "/admin/login/"

        other.log_in("ann", "pear")
        assert "Another device" in visitor.get("/dashboard/")
        assert "1 other device is logged out." in visitor.send("/dashboard/", "/dashboard/end-others/")
        assert other.client.get("/dashboard/").url.path == "/login/"

        assert "Goodbye." in visitor.send("/dashboard/", "/logout/")
        page = visitor.get("/")
        assert "2 visits" in page and "Goodbye." not in page and 'body class="moss"' in page
        assert visitor.client.get("/dashboard/").url.path == "/login/"

        assert "Hello, root" in visitor.log_in("root", "plum")
        assert "Site administration" in visitor.get("/admin/")
        assert "ann" in visitor.get("/admin/auth/user/")
        page = visitor.send("/admin/auth/group/add/", "/admin/auth/group/add/", name="guests")
        assert "was added successfully" in page
        sent = visitor.client.cookies["sessionid"]
    with serving(*command, cwd=PROJECT, env=env) as running, Visitor(running.address) as visitor:  # after a restart
        visitor.client.cookies.set("sessionid", sent)
        assert "Hello, root" in visitor.get("/dashboard/")
