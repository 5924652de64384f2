"""The URLs of the Redis stores."""

from __future__ import annotations

from typing import Any

import pytest

from sojourn.errors import ConfigurationError
from sojourn.stores.redis._url import parse_url


@pytest.mark.parametrize(
    ("url", "server", "options"),
    [
        ("redis://", {"hosts": (("localhost", 6379),), "db": 0, "tls": False}, {}),
        ("redis://host", {"hosts": (("host", 6379),)}, {}),
        ("redis://host:7/3", {"hosts": (("host", 7),), "db": 3}, {}),
        ("redis://host/", {"db": 0}, {}),
        ("redis://[::1]:7", {"hosts": (("::1", 7),)}, {}),
        ("redis://[::1]", {"hosts": (("::1", 6379),)}, {}),
        ("redis://:p%40w@host", {"username": None, "password": "p@w"}, {}),
        ("redis://ann:p:w@host", {"username": "ann", "password": "p:w"}, {}),
        ("rediss://ann@host", {"username": "ann", "password": None, "tls": True}, {}),
        ("rediss://host?ssl_cert_reqs=none&ssl_check_hostname=false", {"ssl_cert_reqs": "none"}, {}),
        ("redis://host?prefix=app%3A&layout=connect-redis", {}, {"prefix": "app:", "layout": "connect-redis"}),
        ("redis://host?max_size=5", {}, {"max_size": 5}),
        ("redis://host?db=4&timeout=2.5&connect_timeout=1", {"db": 4, "timeout": 2.5, "connect_timeout": 1.0}, {}),
        ("redis://host?max_connections=9", {"max_connections": 9}, {}),
        ("redis://host?near_cache=0&near_cache_window=2", {"near_cache": 0, "near_cache_window": 2.0}, {}),
        ("unix:///run/redis.sock?db=2", {"kind": "unix", "path": "/run/redis.sock", "db": 2}, {}),
        ("redis+unix://:pw@/run/r.sock", {"kind": "unix", "path": "/run/r.sock", "password": "pw"}, {}),
        (
            "redis+sentinel://ann:pw@a,b:7/main/5?sentinel_password=x",
            {
                "kind": "sentinel",
                "hosts": (("a", 26379), ("b", 7)),
                "service": "main",
                "db": 5,
                "password": "pw",
                "sentinel_password": "x",
            },
            {},
        ),
        ("redis+sentinel://a/main", {"service": "main", "db": 0}, {}),
        ("redis+cluster://a,b:7", {"kind": "cluster", "hosts": (("a", 6379), ("b", 7))}, {}),
        ("rediss+cluster://a", {"kind": "cluster", "tls": True}, {}),
        ("rediss+sentinel://a/main", {"kind": "sentinel", "tls": True}, {}),
    ],
)
def test_a_url_says_where_the_server_is_and_what_the_store_does(url: str, server: dict[str, Any], options: Any):
    found, ours = parse_url(url)
    assert {name: getattr(found, name) for name in server} == server
    assert ours == options


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("http://host", "scheme"),
        ("redis:host", "scheme"),
        ("redis://host/x", "another form"),
        ("redis://host:x", "another form"),
        ("redis://a,b", "another form"),
        ("unix://host/run/redis.sock", "another form"),
        ("unix://", "another form"),
        ("redis+sentinel://a", "another form"),
        ("redis+sentinel://a/main/x", "another form"),
        ("redis+cluster://a/1", "db"),
        ("redis+cluster://a?db=1", "db"),
        ("redis://host?colour=red", "option 'colour'"),
        ("redis://host?timeout=0", "timeout"),
        ("redis://host?timeout=soon", "timeout"),
        ("redis://host?timeout=nan", "timeout"),
        ("redis://host?db=one", "db"),
        ("redis://host?max_size=-1", "max_size"),
        ("redis://host?max_connections=0", "max_connections"),
        ("redis://host?near_cache_window=2", "near_cache_window"),
        ("rediss://host?ssl_cert_reqs=optional", "ssl_cert_reqs"),
        ("rediss://host?ssl_check_hostname=no", "ssl_check_hostname"),
        ("rediss://host?ssl_ca_certs=/nowhere/ca.pem", "ssl_ca_certs"),
    ],
)
def test_a_bad_url_is_refused_by_what_is_wrong_and_without_its_password(url: str, named: str):
    url = url.replace("://", "://ann:s3cret@", 1)
    with pytest.raises(ConfigurationError, match=named) as refused:
        parse_url(url)
    assert "s3cret" not in str(refused.value)


def test_the_repr_of_a_server_holds_no_password():
    server, _ = parse_url("redis+sentinel://ann:s3cret@a/main?sentinel_username=bob&sentinel_password=s3cret")
    assert "s3cret" not in repr(server)


def test_a_server_that_sentinels_name_is_spoken_to_as_the_url_says():
    server, _ = parse_url("rediss+sentinel://ann:s3cret@a/main?max_connections=5")
    options = server.client_options()
    assert options["max_connections"] == 5 and options["username"] == "ann"
    assert options["ssl"] is True
    plain, _ = parse_url("redis+sentinel://a/main")
    assert "ssl" not in plain.client_options()
    assert plain.client_options()["max_connections"] > 10_000  # redis-py's own limit is 100 by now
