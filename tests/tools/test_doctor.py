"""``sojourn doctor``: applications of several frameworks, and what in them would fail in production."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from sojourn.cli import main

GOOD: Final = secrets.token_hex(32)
_COUNT = iter(range(1000))


@pytest.fixture(autouse=True)
def no_django_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has Django set up is asked about it, and other tests may have set it up in this one."""
    for name in ("django.conf", "sojourn.django.config"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def doctor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str]]]:
    """Says what it says of a program: the exit status, and the findings as lines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    made = []

    def given(program: str, *arguments: str, app: str = "app") -> tuple[int, str]:
        module = f"doctored_{next(_COUNT)}"
        made.append(module)
        (tmp_path / f"{module}.py").write_text(f"GOOD = {GOOD!r}\n{program}")
        status = main(["doctor", f"{module}:{app}", "--json", *arguments])
        told = capsys.readouterr()
        found = json.loads(told.out)["findings"] if told.out else []
        return status, told.err + "\n".join(f"{each['level']}: {each['problem']}; {each['remedy']}" for each in found)

    yield given
    for module in made:
        sys.modules.pop(module, None)


STARLETTE: Final = """
from starlette.applications import Starlette
from sojourn import Cookie
from sojourn.starlette import SessionMiddleware
app = Starlette({app})
app.add_middleware(SessionMiddleware, **{{"secret": GOOD, "store": "sqlite:///sessions.db", {options}}})
"""


def starlette(options: str = "", app: str = "") -> str:
    return STARLETTE.format(options=options, app=app)


RULES: Final[list[tuple[str, tuple[str, ...], str]]] = [
    ('"secret": "short"', (), "error: the secret is weak: it has 5 bytes"),
    ('"secret": [GOOD, "keyboard cat " * 5]', (), "error: secret 2 of 2 is weak: it quotes 'keyboard cat'"),
    ('"store": "memory://"', ("--workers", "4"), "error: each of the 4 workers has sessions of its own"),
    ('"store": "memory://"', (), "error: sessions are in the memory of each process"),
    ('"store": "memory://"', ("--workers", "1"), "warning: sessions are in the memory of each process"),
    ('"cookie": Cookie(secure=False)', (), "error: the cookie is not Secure"),
    ('"cookie": Cookie(secure=True)', ("--proxy",), "error: over the proxy every request looks like http to the application, and no"),
    ("", ("--proxy",), 'error: over the proxy every request looks like http to the application, and with secure="auto"'),
    ("", (), "note: the scheme is the server's"),
    ('"trust_proxy": True', ("--no-proxy",), "error: trust_proxy is on, and there is no proxy"),
    ('"cookie": Cookie(domain="example.com")', ("--host", "shop.example.org"), "error: browsers drop the cookie: its domain"),
    ('"cookie": Cookie(httponly=False)', (), "warning: the cookie is not HttpOnly"),
    ('"cookie": lambda scope: Cookie()', (), "note: the cookie is a function of the request"),
    ('"hash_ids": False', (), "warning: hash_ids is off"),
    ('"absolute_timeout": None', (), "note: a session that is used never ends"),
    ('"on_store_error": "anonymous"', (), "note: while the store is down, everybody is anonymous"),
    ('"cookie": Cookie(domain="shop")', (), "warning: cookie.domain is 'shop'"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "arguments", "said"), RULES, ids=[rule[2][:50] for rule in RULES])
def test_what_would_fail_is_said(options, arguments, said, doctor, monkeypatch) -> None:
    monkeypatch.setattr("sojourn.logs._said", set())
    status, told = doctor(starlette(options), *arguments)
    assert said in told
    assert status == int("error:" in told)


def test_nothing_is_said_of_what_is_right(doctor, capsys) -> None:
    status, told = doctor(starlette('"trust_proxy": True'), "--proxy", "--host", "shop.example.com", "--workers", "4")
    assert status == 0
    assert (
        told
        == "note: sessions are in a file of this machine; if the site is on several machines, take a store with a server"
    )


def test_the_number_of_workers_may_come_from_the_environment(doctor, monkeypatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    assert "each of the 3 workers" in doctor(starlette('"store": "memory://"'))[1]


ORDER: Final = {
    "Starlette's own SessionMiddleware": """
from starlette.middleware.sessions import SessionMiddleware as Theirs
app.add_middleware(Theirs, secret_key=GOOD)
""",
    "AuthenticationMiddleware is outside of the session middleware": """
from starlette.middleware.authentication import AuthenticationMiddleware
from sojourn.starlette import SessionAuthBackend
app.add_middleware(AuthenticationMiddleware, backend=SessionAuthBackend())
""",
    "one session middleware is within another": """
app.add_middleware(SessionMiddleware, secret=GOOD, store="sqlite:///other.db", name="other")
""",
}


@pytest.mark.parametrize("said", ORDER)
def test_the_order_of_middlewares_is_looked_at(said, doctor) -> None:
    assert said in doctor(starlette() + ORDER[said])[1]


def test_debug_mode_is_an_error(doctor) -> None:
    status, told = doctor(starlette(app="debug=True"))
    assert status == 1 and "error: the application is in debug mode" in told


def test_an_option_that_is_refused_is_what_is_said(doctor) -> None:
    status, told = doctor(starlette('"idle_timeout": -1'))
    assert status == 1 and "error: the application cannot be built: ConfigurationError: idle_timeout" in told


def test_an_application_without_sessions_is_said_to_have_none(doctor) -> None:
    status, told = doctor("from starlette.applications import Starlette\napp = Starlette()")
    assert status == 1 and "no session middleware of Sojourn's was found" in told


@pytest.mark.parametrize(
    ("program", "app"),
    [
        ("def app(environ, start_response): ...\nfrom sojourn.wsgi import SessionMiddleware\napp = SessionMiddleware(app, secret='x', store='memory://')", "app"),
        ("from flask import Flask\nfrom sojourn.flask import Sojourn\napp = Flask(__name__)\nSojourn(app, secret='x', store='memory://')", "app"),
        ("from quart import Quart\nfrom sojourn.quart import Sojourn\napp = Quart(__name__)\nSojourn(app, secret='x', store='memory://')", "app"),
        ("from fastapi import FastAPI\nfrom sojourn.fastapi import SessionMiddleware\ndef make():\n    app = FastAPI()\n    app.add_middleware(SessionMiddleware, secret='x', store='memory://')\n    return app", "make()"),
        ("from aiohttp import web\nfrom sojourn.aiohttp import SessionMiddleware\napp = web.Application(middlewares=[SessionMiddleware(secret='x', store='memory://')])", "app"),
        ("from litestar import Litestar\nfrom sojourn.litestar import SojournPlugin\napp = Litestar([], logging_config=None, plugins=[SojournPlugin(secret='x', store='memory://')])", "app"),
    ],
    ids=["wsgi", "flask", "quart", "fastapi", "aiohttp", "litestar"],
)  # fmt: skip
def test_each_framework_s_application_is_looked_into(program, app, doctor) -> None:
    status, told = doctor(program, "--workers", "2", app=app)
    assert status == 1
    assert "the secret is weak" in told and "each of the 2 workers" in told


def test_a_django_project_is_looked_into(capsys) -> None:
    project = Path(__file__).parents[2] / "examples" / "django_project"
    done = subprocess.run(
        [sys.executable, "-m", "sojourn", "doctor", "project.asgi:application", "--json"],
        cwd=project,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "project.settings"},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    told = json.loads(done.stdout)
    assert told["middlewares"] == 2, done.stdout
    problems = [finding["problem"] for finding in told["findings"]]
    assert any("SECRET_KEY" in problem for problem in problems)
    assert "DEBUG is on: error pages show code and data to whoever asks" in problems


@pytest.mark.parametrize("app", ["nothing", "app.nothing"])
def test_an_application_that_is_not_there_is_refused(app, doctor) -> None:
    status, told = doctor("app = 1", app=app)
    assert status == 2 and "is not there" in told


@pytest.mark.parametrize("given", ["shop", "shop:", ":app", "no_such_module:app"])
def test_what_names_no_application_is_refused(given, capsys) -> None:
    assert main(["doctor", given]) == 2
    assert "MODULE:APP" in capsys.readouterr().err


def test_a_module_that_is_missing_to_the_application_is_said(doctor) -> None:
    status, told = doctor("import no_such_library\napp = 1")
    assert status == 1 and "cannot be built: No module named 'no_such_library'" in told


def test_people_read_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "doctored.py").write_text(
        f"GOOD = {GOOD!r}\n" + starlette('"trust_proxy": True, "store": "redis://localhost"')
    )
    assert main(["doctor", "doctored:app", "--proxy"]) == 0
    assert capsys.readouterr().out == "Nothing speaks against it.\n"
