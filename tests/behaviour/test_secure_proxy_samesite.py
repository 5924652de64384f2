"""Express contract, section 10: Secure, proxy, SameSite."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from sojourn import Cookie
from tests.behaviour.harness import Client, Make, put, read, sign

HTTP, HTTPS = "http", "https"


def forwarded(value: str | None) -> list[tuple[str, str]]:
    return [] if value is None else [("X-Forwarded-Proto", value)]


CONNECTIONS: list[tuple[bool | None, str, str | None, bool]] = [
    # trust_proxy, what the server says, X-Forwarded-Proto, secure
    (None, HTTP, None, False),
    (None, HTTPS, None, True),  # contract 107: the server's own flag
    (None, HTTP, "https", False),  # contract 107
    (None, HTTPS, "http", True),
    (True, HTTP, None, False),  # contract 105
    (True, HTTP, "https", True),
    (True, HTTP, "http", False),
    (True, HTTP, "https,http", True),
    (True, HTTP, "http,https", False),
    (True, HTTP, "HTTPS", True),
    (True, HTTP, "  https  ", True),
    (True, HTTP, " HttpS , http", True),
    (True, HTTP, "", False),
    (True, HTTP, ",https", False),
    (True, HTTP, "httpsx", False),
    (True, HTTPS, None, True),  # contract 108
    (True, HTTPS, "http", True),
    (False, HTTP, None, False),  # contract 106
    (False, HTTP, "https", False),
    (False, HTTPS, None, True),
    (False, HTTPS, "https", False),  # contract 106: the server's flag may come from the header
]


# contract 103, 105, 106, 107, 108, 109, 110, 111
@pytest.mark.parametrize(("trust", "scheme", "proto", "secure"), CONNECTIONS)
def test_which_connections_are_secure(
    make: Make, trust: bool | None, scheme: str, proto: str | None, *, secure: bool
) -> None:
    how: dict[str, Any] = {"scheme": scheme, "headers": forwarded(proto), "browser_https": secure}
    auto = make(trust_proxy=trust, cookie=Cookie(secure="auto", samesite="auto"))
    cookie = auto.get(put(n=1), **how).the_cookie
    assert (cookie["Secure"], cookie["SameSite"]) == ((True, "None") if secure else (None, "Lax"))
    fixed = make(trust_proxy=trust, cookie=Cookie(secure=True))
    answer = fixed.get(put(n=1), **how)
    assert (answer.cookie is not None) is secure
    assert answer.writes == (["create"] if secure else [])


# contract 108
@pytest.mark.parametrize("trust", [None, True, False])
@pytest.mark.parametrize("proto", [None, "http", "https"])
def test_a_connection_whose_tls_the_server_ended_is_secure_in_any_case(
    make: Make, adapter: str, trust: bool | None, proto: str | None
) -> None:
    if adapter == "wsgi":
        return  # a WSGI server has no way to say so
    world = make(trust_proxy=trust, cookie=Cookie(secure=True))
    answer = world.get(put(n=1), scheme=HTTPS, headers=forwarded(proto), extra={"extensions": {"tls": {}}})
    assert answer.the_cookie["Secure"] is True


# contract 104
def test_a_secure_cookie_over_http_is_not_sent_and_nothing_is_stored_and_the_log_says_why(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    world = make(cookie=Cookie(secure=True), save_uninitialized=True)
    for _ in range(3):
        answer = world.get(put(n=1))
        assert answer.status == 200 and answer.cookie is None and answer.writes == []
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1 and "trust_proxy" in warnings[0] and "plain http" in warnings[0]
    assert not [
        record for record in caplog.records if record.levelno > logging.WARNING
    ]  # that it was too late, which it was not


# contract 104
def test_a_session_loaded_over_http_under_a_secure_cookie_is_still_saved(expressive: Make) -> None:
    world = expressive(cookie=Cookie(secure=True), rolling=True)
    world.plant({"n": 1})
    value = f"connect.sid={sign('planted', 'express')}"
    answer = world.get(put(n=2), cookies=value)
    assert answer.writes == ["replace"] and answer.cookie is None


# contract 104
@pytest.mark.parametrize("keep", [True, False])
def test_regenerating_over_http_under_a_secure_cookie_ends_the_old_session(expressive: Make, *, keep: bool) -> None:
    world = expressive(cookie=Cookie(secure=True))
    world.plant({"n": 1})
    value = f"connect.sid={sign('planted', 'express')}"
    answer = world.get(lambda ctx: ctx.session.regenerate(keep_data=keep), cookies=value)
    assert answer.writes == ["delete"] and answer.cookie is None and world.stored() == {}


ATTRIBUTES: list[tuple[Any, Any, bool, tuple[Any, Any] | None]] = [
    # secure, samesite, over https; Secure and SameSite as sent, or no cookie
    ("auto", "auto", True, (True, "None")),  # contract 109, 112, 113, 115
    ("auto", "auto", False, (None, "Lax")),
    ("auto", "lax", True, (True, "Lax")),
    ("auto", "lax", False, (None, "Lax")),
    ("auto", None, True, (True, None)),
    ("auto", None, False, (None, None)),
    (True, "auto", True, (True, "None")),  # contract 117
    (True, "auto", False, None),
    (True, "none", True, (True, "None")),
    (True, "none", False, None),
    (True, "strict", True, (True, "Strict")),
    (True, True, True, (True, "Strict")),  # contract 119
    (False, True, True, (None, "Strict")),
    (False, False, True, (None, None)),
    (False, None, False, (None, None)),
    (False, "lax", True, (None, "Lax")),
    (False, "strict", False, (None, "Strict")),
]


# contract 103, 104, 109, 111, 112, 115, 117, 119
@pytest.mark.parametrize(("secure", "samesite", "https", "sent"), ATTRIBUTES)
def test_secure_and_samesite_as_sent(make: Make, secure: Any, samesite: Any, sent: Any, *, https: bool) -> None:
    world = make(cookie=Cookie(secure=secure, samesite=samesite))
    answer = world.get(put(n=1), scheme=HTTPS if https else HTTP)
    got = None if answer.cookie is None else (answer.cookie["Secure"], answer.cookie["SameSite"])
    assert got == sent
    assert len(world.stored()) == (sent is not None)
    if sent is not None:
        assert world.get(read, scheme=HTTPS if https else HTTP).seen == {"n": 1}


# contract 113, 114
@pytest.mark.parametrize(
    ("trust", "proto", "samesite"),
    [(True, "https", "None"), (True, "http", "Lax"), (False, "https", "Lax"), (None, "https", "Lax")],
)
def test_samesite_auto_follows_the_proxy_where_it_is_trusted(
    make: Make, trust: bool | None, proto: str, samesite: str
) -> None:
    world = make(trust_proxy=trust, cookie=Cookie(secure="auto", samesite="auto"))
    answer = Client(world).get(put(n=1), headers=forwarded(proto), browser_https=samesite == "None")
    assert answer.the_cookie["SameSite"] == samesite


# contract 118
def test_auto_is_resolved_for_each_response(expressive: Make) -> None:
    world = expressive(cookie=Cookie(secure="auto", samesite="auto"), rolling=True)
    value = world.get(put(n=1), scheme=HTTPS).the_cookie.value
    for scheme, secure, samesite in [(HTTP, None, "Lax"), (HTTPS, True, "None"), (HTTP, None, "Lax")]:
        cookie = Client(world).get(put(n=2), scheme=scheme, cookies=f"connect.sid={value}").the_cookie
        assert (cookie["Secure"], cookie["SameSite"]) == (secure, samesite)


HOST: list[tuple[dict[str, Any], str, str]] = [
    # cookie, scheme, name
    ({}, HTTPS, "__Host-sid"),
    ({}, HTTP, "sid"),
    ({"secure": True}, HTTPS, "__Host-sid"),
    ({"secure": False}, HTTPS, "sid"),
    ({"path": "/app"}, HTTPS, "sid"),
    ({"domain": "example.com"}, HTTPS, "sid"),
    ({"secure": True, "path": "/app"}, HTTPS, "sid"),
]


# contract 11
@pytest.mark.parametrize(("cookie", "scheme", "name"), HOST)
def test_the_host_prefix_stands_where_browsers_allow_it(
    native: Make, cookie: dict[str, Any], scheme: str, name: str
) -> None:
    world = native(cookie=Cookie(**cookie))
    answer = world.get(put(n=1), "/app/x", scheme=scheme)
    assert answer.the_cookie.name == name
    again = world.get(read, "/app/x", scheme=scheme)
    assert again.seen == {"n": 1}


# contract 11
@pytest.mark.parametrize("name", ["__Host-mine", "__Secure-mine"])
def test_a_name_with_a_prefix_of_its_own_gains_no_other(make: Make, name: str) -> None:
    world = make(name=name, cookie=Cookie(secure=True))
    assert world.get(put(n=1), scheme=HTTPS).the_cookie.name == name
    assert world.get(read, scheme=HTTPS).seen == {"n": 1}


# contract 11
def test_the_express_profile_has_no_host_prefix(expressive: Make) -> None:
    world = expressive(cookie=Cookie(secure=True))
    assert world.get(put(n=1), scheme=HTTPS).the_cookie.name == "connect.sid"
