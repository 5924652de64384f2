"""A configuration that loses sessions is told once, in words, at WARNING."""

from __future__ import annotations

import logging

import pytest

from sojourn import Cookie
from tests.behaviour.harness import OLD_SECRET, SECRET, Client, Ctx, Make, put, read


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


DOMAIN = Cookie(domain="example.com", secure=False)
HOSTS: list[tuple[dict[str, str], bool]] = [
    # what the request says; whether it is told
    ({"Host": "localhost:8000"}, True),
    ({"Host": "127.0.0.1"}, True),
    ({"Host": "example.org"}, True),
    ({"Host": "example.com"}, False),
    ({"Host": "shop.example.com:8000"}, False),
    ({"Host": "backend:8000", "X-Forwarded-Host": "shop.example.com"}, False),  # a proxy's name for us
    ({"Host": "backend:8000", "X-Forwarded-Host": "example.com, inner"}, False),
    ({"Host": "backend:8000", "X-Forwarded-Host": "localhost"}, True),
    ({}, False),
]


@pytest.mark.parametrize(("headers", "is_told"), HOSTS)
def test_a_cookie_domain_that_is_not_the_hosts(
    make: Make, headers: dict[str, str], is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    world = make(cookie=DOMAIN)
    for _ in range(3):
        assert Client(world).get(put(n=1), headers=headers.items()).the_cookie["domain"] == "example.com"
    told = warnings_of(caplog)
    assert len(told) == is_told
    if told:
        assert f"has the domain example.com, which is not that of the host {headers['Host']!r}" in told[0]


def test_a_sessions_own_domain_likewise(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    def handle(ctx: Ctx) -> None:
        ctx.session.cookie.domain = "example.com"

    world = make(cookie=Cookie(secure=False, path="/app"))
    Client(world).get(put(n=1), "/app", headers=[("Host", "localhost")])
    assert warnings_of(caplog) == []
    Client(world).get(handle, "/app", headers=[("Host", "localhost")])
    assert len(warnings_of(caplog)) == 1


def test_who_is_not_sent_a_cookie_is_told_nothing(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    make(cookie=DOMAIN).get(read, headers=[("Host", "localhost")])
    assert warnings_of(caplog) == []


def test_a_host_cannot_forge_a_line(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    make(cookie=DOMAIN).get(put(n=1), headers=[("Host", "x\x0bERROR " + 500 * "y")])
    (told,) = warnings_of(caplog)
    assert told.isprintable() and len(told) < 400


def test_secrets_that_differ_between_processes(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    one = make(secret=SECRET)
    other = make(secret=OLD_SECRET, store=one.store)
    client = one.session(n=1)
    assert warnings_of(caplog) == []
    for _ in range(3):
        cookies = client.cookie_header("/", secure=False)
        assert other.get(read, cookies=cookies).seen == {}
    (told,) = warnings_of(caplog)
    assert "a session id that none of the secrets has signed" in told


def test_secrets_that_were_rotated_are_told_nothing(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    one = make(secret=OLD_SECRET)
    both = make(secret=[SECRET, OLD_SECRET], store=one.store)
    assert both.get(read, cookies=one.session(n=1).cookie_header("/", secure=False)).seen == {"n": 1}
    assert warnings_of(caplog) == []
