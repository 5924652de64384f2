"""The name that the cookie is sent and read under."""

from __future__ import annotations

import pytest

from sojourn.cookie import Cookie
from sojourn.wire.naming import CookieNaming
from tests.core.making import make_settings

NAMES = [
    # the option, the cookie, sent over http as, sent over https as
    ("sid", {}, "sid", "__Host-sid"),
    ("sid", {"secure": True}, "__Host-sid", "__Host-sid"),
    ("sid", {"secure": False}, "sid", "sid"),
    ("sid", {"path": "/app"}, "sid", "sid"),
    ("sid", {"domain": "example.com"}, "sid", "sid"),
    ("sid", {"path": "/app", "secure": True}, "sid", "sid"),
    ("__Host-sid", {"secure": True}, "__Host-sid", "__Host-sid"),
    ("__host-sid", {"secure": True}, "__host-sid", "__host-sid"),
    ("__Secure-sid", {"secure": True}, "__Secure-sid", "__Secure-sid"),
    ("__sid", {"secure": True}, "__sid", "__sid"),
]


@pytest.mark.parametrize(("name", "cookie", "http", "https"), NAMES)
def test_the_host_prefix_is_taken_wherever_browsers_allow_it(name, cookie, http, https):
    config = Cookie(**cookie)
    naming = CookieNaming(make_settings(name=name, cookie=config).options)
    assert naming.name_of(config, secure=False) == http
    assert naming.name_of(config, secure=True) == https


@pytest.mark.parametrize(("name", "cookie", "http", "https"), NAMES)
def test_a_cookie_counts_as_prefixed_where_its_name_says_so(name, cookie, http, https):
    config = Cookie(**cookie)
    naming = CookieNaming(make_settings(name=name, cookie=config).options)
    assert naming.is_prefixed(config, secure=False) == http.lower().startswith("__host-")
    assert naming.is_prefixed(config, secure=True) == https.lower().startswith("__host-")


# contract 11
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("cookie", [Cookie(), Cookie(secure=True), Cookie(secure=False)])
def test_express_knows_no_prefix(secure, cookie):
    naming = CookieNaming(make_settings(express_profile=True, cookie=cookie).options)
    assert naming.name_of(cookie, secure=secure) == "connect.sid"
