from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sojourn.clock import LONGEST_MS, from_ms, iso_ms
from sojourn.cookie import Cookie
from sojourn.core import session_cookie
from sojourn.core.session_cookie import SessionCookie, read_overrides, stored_as_configured
from sojourn.errors import ConfigurationError, SessionDecodeError
from sojourn.testing import ManualClock
from tests.core.making import DAY, HOUR, NOW


def make(config: Cookie | None = None, *, limit: int | None = None, prefixed: bool = False, **overrides: Any) -> Any:
    clock = ManualClock(NOW)
    cookie = SessionCookie(config or Cookie(), overrides, clock, limit=limit, prefixed=prefixed)
    return cookie, clock


# contract 127, 129, 139
@pytest.mark.parametrize(
    ("name", "stored", "value"),
    [
        ("path", "path", "/app"),
        ("domain", "domain", "example.com"),
        ("httponly", "httpOnly", False),
        ("secure", "secure", True),
        ("secure", "secure", False),
        ("samesite", "sameSite", "strict"),
        ("samesite", "sameSite", None),
        ("samesite", "sameSite", True),
        ("partitioned", "partitioned", True),
        ("priority", "priority", "high"),
    ],
)
def test_an_attribute_is_as_configured_until_this_session_changes_it(name, stored, value):
    cookie, _ = make()
    configured = getattr(Cookie(), name)
    assert getattr(cookie, name) == configured
    setattr(cookie, name, value)
    assert getattr(cookie, name) == value
    assert cookie.overrides == {stored: value}
    setattr(cookie, name, configured)
    assert cookie.overrides == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("path", "app"),
        ("path", None),
        ("domain", "a;b"),
        ("httponly", "no"),
        ("secure", "yes"),
        ("samesite", "Lax"),
        ("samesite", "none"),  # the connection's Secure may be off
        ("partitioned", None),
        ("priority", "urgent"),
        ("max_age", "60"),
        ("max_age", True),
        ("max_age", -1),
        ("expires", datetime(2040, 1, 1)),  # noqa: DTZ001 - that is what is refused
        ("expires", False),
    ],
)
def test_what_browsers_drop_is_refused_where_it_is_assigned(name, value):
    cookie, _ = make()
    with pytest.raises(ConfigurationError) as caught:
        setattr(cookie, name, value)
    assert caught.value.option.rpartition(".")[2] == name
    assert cookie.overrides == {}


def test_samesite_none_is_taken_where_the_cookie_is_secure():
    cookie, _ = make()
    cookie.secure = True
    cookie.samesite = "none"
    assert cookie.overrides == {"secure": True, "sameSite": "none"}


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        ("path", "/app", False),
        ("path", "/", True),
        ("domain", "example.com", False),
        ("domain", None, True),
        ("secure", False, False),
        ("secure", True, True),
        ("secure", "auto", True),
        ("httponly", False, True),
        ("samesite", "strict", True),
    ],
)
def test_a_cookie_under_the_host_prefix_keeps_what_browsers_ask_of_it(name, value, fits):
    cookie, _ = make(prefixed=True)
    if fits:
        setattr(cookie, name, value)
        assert getattr(cookie, name) == value
    else:
        with pytest.raises(ConfigurationError, match="__Host-") as caught:
            setattr(cookie, name, value)
        assert caught.value.option == f"session.cookie.{name}"


# contract 124, 130, 132, 134, 135, 136
def test_a_lifetime_counts_down_from_when_it_was_set():
    cookie, clock = make()
    assert (cookie.max_age, cookie.original_max_age, cookie.original_max_age_ms, cookie.expires) == (None,) * 4
    cookie.max_age = timedelta(hours=1)
    assert (cookie.max_age, cookie.original_max_age, cookie.original_max_age_ms) == (3600, 3600, HOUR)
    assert cookie.expires == from_ms(NOW + HOUR)
    clock.advance(1500)
    assert cookie.max_age == 3598.5
    assert cookie.original_max_age == 3600
    assert cookie.expires == from_ms(NOW + HOUR)
    clock.advance(2 * HOUR)
    assert cookie.max_age == 0
    cookie.max_age = None
    assert (cookie.max_age, cookie.original_max_age, cookie.expires) == (None, None, None)


def test_a_configured_lifetime_can_be_taken_from_a_session():
    cookie, _ = make(Cookie(max_age=3600))
    assert (cookie.original_max_age, cookie.overrides) == (3600, {})
    cookie.max_age = None
    assert cookie.overrides == {"originalMaxAge": None}
    cookie.max_age = 3600
    assert cookie.overrides == {}


# contract 133, 135, 137
def test_a_date_is_a_lifetime_from_now():
    cookie, _ = make()
    cookie.expires = datetime.fromtimestamp(NOW / 1000 + 60, UTC)
    assert cookie.overrides == {"originalMaxAge": 60_000}
    cookie.expires = from_ms(NOW - 5)
    assert (cookie.overrides, cookie.expires, cookie.max_age) == ({"originalMaxAge": -5}, from_ms(NOW - 5), 0)
    for past_all, lifetime in ((-(2**63), -LONGEST_MS), (2**63, LONGEST_MS)):
        cookie.expires = from_ms(past_all)
        assert cookie.overrides == {"originalMaxAge": lifetime}
    cookie.expires = None
    assert cookie.overrides == {}


def test_no_lifetime_outlasts_the_absolute_timeout():
    cookie, _ = make(limit=DAY)
    cookie.max_age = timedelta(days=1)
    for name, value in (("max_age", 86_401), ("expires", from_ms(NOW + DAY + 1))):
        with pytest.raises(ConfigurationError, match="absolute_timeout"):
            setattr(cookie, name, value)
    assert cookie.original_max_age_ms == DAY


# contract 109 to 117, 119
@pytest.mark.parametrize(
    ("secure", "samesite", "over_http", "over_https"),
    [
        ("auto", "lax", (False, "lax"), (True, "lax")),
        ("auto", "strict", (False, "strict"), (True, "strict")),
        ("auto", True, (False, "strict"), (True, "strict")),
        ("auto", None, (False, None), (True, None)),
        ("auto", False, (False, None), (True, None)),
        ("auto", "auto", (False, "lax"), (True, "none")),
        (True, "auto", (True, "lax"), (True, "none")),
        (True, "none", (True, "none"), (True, "none")),
        (False, "lax", (False, "lax"), (False, "lax")),
        (False, None, (False, None), (False, None)),
    ],
)
def test_auto_is_resolved_by_the_connection(secure, samesite, over_http, over_https):
    cookie, _ = make(Cookie(secure=secure, samesite=samesite))
    assert (cookie.sent_secure(secure=False), cookie.sent_samesite(secure=False)) == over_http
    assert (cookie.sent_secure(secure=True), cookie.sent_samesite(secure=True)) == over_https


# contract 116: the configuration was changed since the session got its own
@pytest.mark.parametrize("secure", [False, True])
def test_samesite_none_that_has_lost_its_secure_is_sent_as_lax(secure):
    cookie, _ = make(Cookie(secure=False), sameSite="none")
    assert cookie.samesite == "none"
    assert (cookie.sent_secure(secure), cookie.sent_samesite(secure)) == (False, "lax")


# What is in a record goes into a header, and whoever writes to the store writes it.
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("path", "/\r\nX-Evil: 1"),
        ("path", "/; Domain=evil.example"),
        ("path", "/é"),
        ("path", "app"),
        ("path", None),
        ("path", 1),
        ("domain", "a\r\nX-Evil: 1"),
        ("domain", "a;b"),
        ("domain", ""),
        ("domain", ["a"]),
        ("httpOnly", 1),
        ("httpOnly", None),
        ("secure", 1),
        ("secure", "yes"),
        ("partitioned", 0),
        ("priority", "high\r\nX-Evil: 1"),
        ("priority", 5),
        ("priority", {}),
        ("sameSite", 1),
        ("sameSite", "lax; Domain=evil.example"),
    ],
)
def test_an_attribute_that_could_not_have_been_assigned_makes_a_record_unreadable_and_is_not_quoted(name, value):
    with pytest.raises(SessionDecodeError) as caught:
        read_overrides([name], {name: value})
    assert str(caught.value) == f"the {name} of its cookie is malformed"
    assert read_overrides([], {name: value}) == {}


@pytest.mark.parametrize(
    ("name", "value", "again"),
    [
        ("path", "/app", "/app"),
        ("domain", ".example.com", ".example.com"),
        ("domain", None, None),
        ("httpOnly", False, False),
        ("secure", "auto", "auto"),
        ("partitioned", True, True),
        ("priority", None, None),
        ("priority", "High", "high"),  # Express takes it as it likes
        ("sameSite", "None", "none"),
        ("sameSite", True, True),
        ("sameSite", False, False),
        ("originalMaxAge", 10**25, LONGEST_MS),
        ("originalMaxAge", -1e300, -LONGEST_MS),
        ("originalMaxAge", False, None),
        ("originalMaxAge", "", None),
        ("expires", "whenever", "whenever"),  # never read
        ("one of a newer version", [1], [1]),
    ],
)
def test_an_attribute_that_a_session_changed_is_read_again(name, value, again):
    attributes = {"unnamed": 1, name: value}
    assert read_overrides([name, "not there"], attributes) == {name: again}


@pytest.mark.parametrize("value", ["60000", True, [1], {}])
def test_a_lifetime_that_is_none_is_as_if_the_session_had_not_changed_it(value):
    assert read_overrides(["originalMaxAge", "path"], {"originalMaxAge": value, "path": "/app"}) == {"path": "/app"}


EXPRESS = Cookie(secure=False, samesite=None)
FULL = Cookie(
    max_age=3600, partitioned=True, priority="high", secure=True, httponly=False, domain="example.test", path="/app",
    samesite="strict",
)  # fmt: skip


# Key order and values as the wire formats have them; `undefined` ones are left out.
@pytest.mark.parametrize(
    ("config", "overrides", "part"),
    [
        (EXPRESS, {}, {"originalMaxAge": None, "expires": None, "httpOnly": True, "path": "/"}),
        (
            FULL,
            {},
            {
                "originalMaxAge": HOUR,
                "partitioned": True,
                "priority": "high",
                "expires": iso_ms(NOW + HOUR),
                "secure": True,
                "httpOnly": False,
                "domain": "example.test",
                "path": "/app",
                "sameSite": "strict",
            },
        ),
        # What a session took away is there as null or false, so that it is known the next time.
        (
            FULL,
            {
                "originalMaxAge": None,
                "domain": None,
                "priority": None,
                "partitioned": False,
                "secure": False,
                "sameSite": None,
            },
            {
                "originalMaxAge": None,
                "partitioned": False,
                "priority": None,
                "expires": None,
                "secure": False,
                "httpOnly": False,
                "domain": None,
                "path": "/app",
                "sameSite": None,
            },
        ),
        (
            EXPRESS,
            {"originalMaxAge": 0},
            {"originalMaxAge": 0, "expires": iso_ms(NOW), "httpOnly": True, "path": "/"},
        ),
    ],
)
def test_a_record_has_the_cookie_as_express_writes_it(config, overrides, part):
    cookie, _ = make(config, **overrides)
    lifetime, text = cookie.stored(NOW, secure=True)
    assert lifetime == part["originalMaxAge"]
    assert text == json.dumps(part, separators=(",", ":")).encode()


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("config", [Cookie(), EXPRESS, FULL, Cookie(max_age=0), Cookie(samesite="auto", max_age=60)])
def test_the_quick_way_for_sessions_that_changed_nothing_says_the_same(config, secure):
    cookie, _ = make(config)
    for now in (NOW, NOW + 1):
        assert stored_as_configured(config, now, secure=secure) == cookie.stored(now, secure=secure)


def test_what_is_kept_for_the_quick_way_is_bounded_and_never_another_cookies():
    # A function of the request may make a cookie for each.
    for number in range(session_cookie._MOST_CONFIGURED + 2):
        config = Cookie(path=f"/{number}", max_age=number)
        for secure in (False, True):
            lifetime, text = stored_as_configured(config, NOW, secure=secure)
            part = json.loads(text)
            assert lifetime == part["originalMaxAge"] == number * 1000
            assert (part["path"], part["secure"]) == (f"/{number}", secure)
        assert len(session_cookie._configured) <= session_cookie._MOST_CONFIGURED


def test_a_cookie_shows_what_was_changed():
    cookie, _ = make(Cookie(max_age=60), domain="example.com")
    assert repr(cookie) == "<SessionCookie max_age=60.0 overrides=['domain']>"
