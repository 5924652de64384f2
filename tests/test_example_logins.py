"""The applications of the page "Logins" run, each on a real server, and do the same in every framework."""

from __future__ import annotations

import re
import runpy
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from tests.processes import serving

EXAMPLES = Path(__file__).parent.parent / "examples" / "logins"
COMMANDS = {
    "fastapi": ("-m", "uvicorn", "with_fastapi:app", "--port", "0"),
    "flask": ("-m", "flask", "--app", "with_flask", "run", "--port", "0"),
    "django": ("with_django.py",),
}
CLIENT_SECRET = "a client secret of tests, of more than 32 bytes"
DAY = 86_400
_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


class Visitor:
    """Somebody with a browser."""

    def __init__(self, address: str, agent: str = "Firefox/150") -> None:
        self.client = httpx.Client(
            base_url=address, follow_redirects=True, timeout=60, headers={"User-Agent": agent, "Accept": "text/html"}
        )

    def get(self, path: str) -> httpx.Response:
        return self.client.get(path)

    def send(self, path: str, form: str | None = None, **data: str) -> httpx.Response:
        """Send a form, as it is on a page: its own one, or another."""
        token = _TOKEN.search(self.get(form or path).text)
        return self.client.post(path, data=data if token is None else {"csrfmiddlewaretoken": token[1], **data})

    def log_in(self, name: str, password: str, page: str = "/login", **more: str) -> httpx.Response:
        return self.send(page, name=name, password=password, **more)

    def is_in(self) -> bool:
        return self.get("/account").url.path == "/account"

    def lifetime(self) -> float | None:
        """How long the browser keeps the cookie of the session; None: until it is closed."""
        expires = [
            cookie.expires for cookie in self.client.cookies.jar if cookie.name in ("sid", "session", "sessionid")
        ]
        return None if expires[0] is None else expires[0] - time.time()

    def is_sessionid(self) -> bool:
        return "sessionid" in self.client.cookies

    def handles(self) -> list[str]:
        return [unescape(one) for one in re.findall(r'name="handle" value="([^"]+)"', self.get("/devices").text)]


@pytest.fixture(scope="module", params=COMMANDS)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    tmp_path = tmp_path_factory.mktemp("logins")
    env = {
        "SESSION_STORE": f"sqlite:///{tmp_path}/sessions.db",
        "DATABASE": f"{tmp_path}/db.sqlite3",
        "CLIENT_SECRET": CLIENT_SECRET,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PORT": "0",
    }
    with serving(*COMMANDS[request.param], cwd=EXAMPLES, env=env) as running:
        yield running.address


Arrive = Callable[..., Visitor]


@pytest.fixture
def arrive(site: str) -> Iterator[Arrive]:
    """Visitors of the site, each with a browser of their own."""
    with ExitStack() as stack:

        def arrive(agent: str = "Firefox/150") -> Visitor:
            visitor = Visitor(site, agent)
            stack.enter_context(visitor.client)
            return visitor

        yield arrive


def code_now() -> str:
    code: str = runpy.run_path(str(EXAMPLES / "accounts.py"))["code_at"](
        b"the key of bob's phone", int(time.time()) // 30
    )
    return code


def token(**claims: Any) -> str:
    now = int(time.time())
    claims = {"iss": "https://login.test", "aud": "the-shop", "iat": now, "exp": now + 60, **claims}
    return str(jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(CLIENT_SECRET)))


LOGOUT: dict[str, Any] = {"http://schemas.openid.net/event/backchannel-logout": {}}


def test_a_login_by_password_is_remembered_if_wanted_and_leads_back(arrive: Arrive) -> None:
    ann = arrive()
    led = ann.get("/account")
    assert led.url.path == "/login" and led.url.params["next"] == "/account"
    assert "That is not right." in ann.log_in("ann", "plum").text
    assert "That is not right." in ann.log_in("nobody", "pear").text and not ann.is_in()
    elsewhere = {"Origin": "https://elsewhere.test", "Sec-Fetch-Site": "cross-site"}
    forged = ann.client.post("/login", data={"name": "ann", "password": "pear"}, headers=elsewhere)
    assert forged.status_code == 403 and not ann.is_in()
    ann.get("/login")
    before = dict(ann.client.cookies)
    assert "Hello, ann" in ann.log_in("ann", "pear", "/login?next=/account").text
    assert dict(ann.client.cookies) != before and ann.lifetime() is None
    assert ann.log_in("ann", "pear", "/login?next=//elsewhere.test/").url.path == "/account"
    assert "Goodbye." in ann.send("/logout", form="/account").text and not ann.is_in()

    assert "Hello, ann" in ann.log_in("ann", "pear", remember="true").text
    assert 29 * DAY < (ann.lifetime() or 0) <= 30 * DAY
    led = ann.get("/devices")
    if ann.is_sessionid():  # Django's own login remembers nothing; its expiry is set
        assert led.url.path == "/devices"
    else:  # who is remembered is asked for the password
        assert led.url.path == "/confirm" and led.url.params["next"] == "/devices"
    assert "That is not right." in ann.send("/confirm?next=/devices", password="plum").text
    assert ann.send("/confirm?next=/devices", password="pear").url.path == "/devices"
    assert 29 * DAY < (ann.lifetime() or 0) <= 30 * DAY


def test_a_password_without_its_second_factor_is_nobody(arrive: Arrive) -> None:
    bob = arrive()
    assert bob.log_in("bob", "plum", remember="true").url.path == "/code"
    assert not bob.is_in()
    bob.send("/code", code="12345")
    assert not bob.is_in()
    assert "Hello, bob" in bob.send("/code", code=code_now()).text
    assert (bob.lifetime() or 0) > 29 * DAY

    other = arrive()
    other.log_in("bob", "plum")
    tries = [other.send("/code", code="12345").url.path for _ in range(5)]
    assert tries == 4 * ["/code"] + ["/login"]
    assert other.client.get("/code").url.path == "/login", "it begins anew"


def test_devices_end_one_by_one_all_at_once_and_with_a_changed_password(arrive: Arrive) -> None:
    ann, phone, tablet, bob = arrive(), arrive("Phone"), arrive("<Tablet>"), arrive()
    ann.log_in("ann", "pear")
    bob.log_in("bob", "plum")
    bob.send("/code", code=code_now())
    ann.send("/devices", others="1")  # whatever other tests have left
    for visitor in (phone, tablet):
        visitor.log_in("ann", "pear")
    page = ann.get("/devices").text
    assert "Firefox/150" in page and "Phone" in page and "&lt;Tablet&gt;" in page and "(this one)" in page
    handles = ann.handles()
    assert len(handles) == 2
    assert "Logged out: 0." in bob.send("/devices", handle=handles[0]).text, "another's"
    assert "Logged out: 1." in ann.send("/devices", handle=handles[0]).text
    assert sorted([phone.is_in(), tablet.is_in()]) == [False, True] and ann.is_in()
    assert "Logged out: 1." in ann.send("/devices", others="1").text
    assert [one.is_in() for one in (ann, phone, tablet, bob)] == [True, False, False, True]

    phone.log_in("ann", "pear")
    assert "another password now" in ann.send("/password", password="quince").text
    assert [one.is_in() for one in (ann, phone, bob)] == [True, False, True]
    assert "That is not right." in phone.log_in("ann", "pear").text
    assert "Hello, ann" in phone.log_in("ann", "quince").text
    ann.send("/password", password="pear")
    assert not phone.is_in()


def test_the_sixth_login_ends_the_first(arrive: Arrive) -> None:
    anns = [arrive() for _ in range(6)]
    for visitor in anns:
        visitor.log_in("ann", "pear")
        time.sleep(0.002)  # a login counts by its millisecond
    assert [visitor.is_in() for visitor in anns] == [False] + 5 * [True]


def test_administrators_and_the_provider_end_sessions(site: str, arrive: Arrive) -> None:
    root, ann, other, cid = (arrive() for _ in range(4))
    root.log_in("root", "fig")
    for visitor in (ann, other):
        assert "Hello, ann" in visitor.get(f"/sso?id_token={token(sub='ann', sid=f'sid of {id(visitor)}')}").text
    assert cid.get(f"/sso?id_token={token(sub='cid', aud='another')}").status_code == 400
    assert cid.get(f"/sso?id_token={token(sub='cid')}").url.path == "/account"

    def told(**claims: Any) -> int:
        return httpx.post(f"{site}/backchannel-logout", data={"logout_token": token(**claims)}, timeout=60).status_code

    sid = f"sid of {id(ann)}"
    assert told(sub="ann", sid=sid, events={}, jti="1") == 400
    assert told(sub="ann", sid=sid, events=LOGOUT, jti="1", nonce="n") == 400
    assert told(sub="ann", sid=sid, events=LOGOUT, jti="1", exp=1) == 400
    assert told(sid=sid, events=LOGOUT, jti="1") == 200
    assert [ann.is_in(), other.is_in()] == [False, True]
    assert told(sub="ann", events=LOGOUT, jti="1") == 400, "a token counts once"
    assert told(sub="ann", events=LOGOUT, jti="2") == 200
    assert [other.is_in(), cid.is_in(), root.is_in()] == [False, True, True]

    ann.log_in("ann", "pear")
    assert ann.send("/admin/disable", form="/password", name="cid").status_code == 403
    assert root.send("/admin/disable", form="/password", name="cid").json() == {"ended": 1}
    assert not cid.is_in() and "That is not right." in cid.log_in("cid", "kiwi").text
    assert root.send("/admin/log-everybody-out", form="/password").json()["ended"] >= 1
    assert [ann.is_in(), root.is_in()] == [False, True]
