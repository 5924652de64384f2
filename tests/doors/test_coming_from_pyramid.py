"""What "Coming from Pyramid's own sessions" says is so: a visitor who comes back with the old cookie goes on in a session of ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pyramid.authentication import SessionAuthenticationHelper
from pyramid.config import Configurator
from pyramid.session import SignedCookieSessionFactory
from webtest import TestApp

from sojourn.testing.pyramid import read_session

PAGE = Path(__file__).parent.parent.parent / "docs" / "frameworks" / "coming-from-pyramid.md"
SECRET = "a secret for tests of more than 32 bytes"


@pytest.fixture
def new(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The page's application."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SESSION_SECRET", SECRET)
    (source,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "__main__"}  # Pyramid looks for it among the modules
    exec(compile(source, PAGE.name, "exec", dont_inherit=True), names)
    return names["app"]


def visit_before(request: Any) -> Any:
    if "name" in request.params:
        SessionAuthenticationHelper().remember(request, request.params["name"])
    request.session["cart"] = ["tent"]
    request.session.flash("saved")
    return request.session.get_csrf_token()


@pytest.fixture
def old() -> TestApp:
    """A client of an application as it was."""
    with Configurator() as config:
        config.set_session_factory(SignedCookieSessionFactory(SECRET))
        config.add_route("front", "/")
        config.add_view(visit_before, route_name="front", renderer="string")
    return TestApp(config.make_wsgi_app())


# pyramid contract 9, 10, 19
@pytest.mark.parametrize("name", ["ann", None])
def test_a_visitor_goes_on_with_what_the_old_cookie_holds(old: TestApp, new: Any, name: str | None) -> None:
    token = old.get("/" if name is None else f"/?name={name}").text
    client = TestApp(new, cookiejar=old.cookiejar)
    assert client.get("/").json == {"owner": name, "cart": ["tent"]}
    assert set(client.cookies) == {"sid"}
    assert read_session(client) == {"cart": ["tent"], "_f_": ["saved"], "_csrft_": token}
    assert client.get("/").json == {"owner": name, "cart": ["tent"]}


def test_a_cookie_that_was_made_up_brings_nothing(new: Any) -> None:
    client = TestApp(new)
    client.set_cookie("session", "bWFkZSB1cA")
    assert client.get("/").json == {"owner": None, "cart": None}
    assert "sid" not in client.cookies
