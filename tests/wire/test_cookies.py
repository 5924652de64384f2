from __future__ import annotations

import logging
import re
import time
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn import logs
from sojourn.clock import to_ms
from sojourn.cookie import Cookie
from sojourn.errors import ConfigurationError
from sojourn.wire.cookies import clean_value, domain_fits, domain_in, encode_value, finder, render

PLAIN: dict[str, Any] = {
    "path": "/",
    "domain": None,
    "expires_ms": None,
    "max_age_ms": None,
    "httponly": False,
    "secure": False,
    "samesite": None,
    "partitioned": False,
    "priority": None,
}


def ms(*moment: int) -> int:
    return to_ms(datetime(*moment, tzinfo=UTC))  # type: ignore[arg-type, misc]


# -- the Cookie header ------------------------------------------------------------------------------------------------

# Little but what matters to a parser, so that its pieces meet.
headers = st.lists(
    st.sampled_from([b"sid", b"=", b";", b"; ", b" ", b"\t", b'"', b"%", b"%2E", b"x", b"\x00", b"\xff", b",", b"\n"])
).map(b"".join) | st.binary(max_size=60)
OCTETS = "!#$&'()*+-./019:<=>?@AZ[]^_`az{|}~"  # of RFC 6265's cookie-octet, all kinds
names = st.sampled_from([b"sid", b"__Host-sid", b"connect.sid", b"a.b", b"s*d", b"s|d"])


def by_splitting(name: bytes, header: bytes) -> list[bytes]:
    """The same as the finder, in the words of RFC 6265, section 5.4: pairs between semicolons; and then those between commas, too."""
    found = pairs(name, header.split(b";"))
    joined = pairs(name, header.replace(b",", b";").split(b";"))
    return found + [value for value in joined if value not in found] if b"," in header else found


def pairs(name: bytes, parts: list[bytes]) -> list[bytes]:
    split = (part.partition(b"=") for part in parts)
    return [value for found, equals, value in split if equals and found.strip(b" \t") == name]


@given(names, headers)
def test_any_bytes_are_read_as_pairs_between_semicolons_and_then_between_commas(name, header):
    assert finder(name)(header) == by_splitting(name, header)


@given(headers)
def test_no_bytes_are_too_strange_for_a_value(raw):
    assert isinstance(clean_value(raw), bytes)


# contract 36
@given(
    names,
    st.lists(st.tuples(st.booleans(), st.text(OCTETS).map(str.encode))),
    st.sampled_from([b";", b"; ", b" ;\t"]),
)
def test_every_well_formed_value_is_found_in_order(name, pairs, separator):
    header = separator.join((name if ours else b"other") + b"=" + value for ours, value in pairs)
    assert [raw.strip(b" \t") for raw in finder(name)(header)] == [value for ours, value in pairs if ours]


@pytest.mark.parametrize(
    ("header", "values"),
    [
        (b"", []),
        (b"sid", []),
        (b"sid=", [b""]),
        (b"sid=1", [b"1"]),
        (b"sid = 1 ", [b" 1 "]),
        (b"sid=1;sid=2; sid=3", [b"1", b"2", b"3"]),
        (b"xsid=1; sid.x=2; Sid=3; sidx=4", []),
        (b"a=sid=1", []),
        # as servers join repeated headers, or as part of a value
        (b"a=1,sid=2", [b"2"]),
        (b"a=1, sid=2", [b"2"]),
        (b"sid=1,a=2", [b"1,a=2", b"1"]),
        (b"sid=1,sid=2", [b"1,sid=2", b"1", b"2"]),
        (b"a=1,sid=2; sid=3", [b"3", b"2"]),
        (b"sid=1; a=b,c", [b"1"]),
        (b"a=1,xsid=2,sid", []),
        (b"sid=a=b", [b"a=b"]),
        (b"__Host-sid=1; sid=2", [b"2"]),
    ],
)
def test_a_name_is_matched_whole_and_in_its_case(header, values):
    assert finder(b"sid")(header) == values


def test_a_name_is_no_pattern():
    assert finder(b"s.d")(b"sid=1; s.d=2") == [b"2"]


@pytest.mark.parametrize(
    "piece",
    [
        b";",
        b" ",
        b"; ",
        b"sid",
        b"sid ",
        b";sid ",
        b";sid=",
        b",",
        b"sid=,",
        b";sid=,",
        b"=",
        b'"',
        b"sid=;",
        b"; \t\t\t\t\t\t\t\t",
        b"\x00",
        b"%",
    ],
)
def test_the_work_grows_with_the_header_and_no_faster(piece):
    def cost(size: int) -> int:
        header = (piece * size)[:size]
        find, best = finder(b"sid"), []
        for _ in range(5):
            began = time.thread_time_ns()
            for raw in find(header):
                clean_value(raw)
            best.append(time.thread_time_ns() - began)
        return min(best)

    # Sixteen times the header: about 16 if the work is linear, 256 if it is quadratic.
    assert cost(65_536) < 80 * max(cost(4_096), 20_000)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"", b""),
        (b" a\t", b"a"),
        (b'"a"', b"a"),
        (b' "a" ', b"a"),
        (b'""', b""),
        (b'"', b'"'),
        (b'"a', b'"a'),
        (b"a%2Eb", b"a.b"),
        (b"a+b", b"a+b"),
        (b"%", b"%"),
        (b"%zz%2", b"%zz%2"),
        (b'"%22"', b'"'),
    ],
)
def test_a_value_loses_its_blanks_quotes_and_percent_signs(raw, value):
    assert clean_value(raw) == value


# -- values -----------------------------------------------------------------------------------------------------------


# contract 62
@given(st.text())
def test_a_value_is_encoded_as_javascript_does_it_and_comes_back(value):
    encoded = encode_value(value)
    assert re.fullmatch(r"(?:[A-Za-z0-9\-_.!~*'()]|%[0-9A-F]{2})*", encoded)
    assert clean_value(encoded.encode()) == value.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    ("value", "encoded"),
    [("s:a.b/c+d", "s%3Aa.b%2Fc%2Bd"), ("-_.!~*'()", "-_.!~*'()"), ("ü€", "%C3%BC%E2%82%AC"), ("a b;c", "a%20b%3Bc")],
)
def test_values_as_encode_uri_component_gives_them(value, encoded):
    assert encode_value(value) == encoded


# -- Set-Cookie -------------------------------------------------------------------------------------------------------

# The vectors of the wire formats: what express-session sends.
VECTORS = [
    (
        "connect.sid=s%3AwulJLPAtqX6RqdOGY6Z30DOzphrja_7w.uVtzCGGkRhuzCsTOKThOZCXPFwsYYojMoqr32b1o4Go; Path=/; HttpOnly",
        {"httponly": True},
    ),
    (
        (
            "connect.sid=s%3AY43IOTrnPQ2egdddayQgNnHsbFs6cI89.d6lO%2Fo22sIIFz435xIAoylfTxUGegWbIK09unofMA28; Path=/; "
            "Expires=Sat, 21 Nov 2026 04:32:14 GMT; HttpOnly"
        ),
        {"httponly": True, "expires_ms": ms(2026, 11, 21, 4, 32, 14) + 999},
    ),
    (
        (
            "sid=s%3AmEAhIkHCWm8m7Yv6aAL1OdwMhAQ_tHu6.sOpaxkYGyky4RsP8fUWPveiH6OTXLsnXz%2FH%2BoGIsTYM; Domain=example.test; "
            "Path=/app; Expires=Sat, 21 Nov 2026 04:32:17 GMT; Secure; Partitioned; Priority=High; SameSite=Strict"
        ),
        {
            "domain": "example.test",
            "path": "/app",
            "expires_ms": ms(2026, 11, 21, 4, 32, 17),
            "secure": True,
            "partitioned": True,
            "priority": "high",
            "samesite": "strict",
        },
    ),
]


# contract 128, 131, 132
@pytest.mark.parametrize(("sent", "attributes"), VECTORS)
def test_a_cookie_is_sent_as_express_sends_it_to_the_byte(sent, attributes):
    name, _, value = sent.partition(";")[0].partition("=")
    assert render(name, unquote(value), **PLAIN | attributes) == sent


def test_max_age_stands_after_expires_and_is_rounded_up():
    text = render("sid", "v", **PLAIN | {"expires_ms": 0, "max_age_ms": 1, "httponly": True})
    assert text == "sid=v; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=1; HttpOnly"
    assert "Max-Age=0" in render("sid", "", **PLAIN | {"max_age_ms": 0})
    assert "Max-Age=2" in render("sid", "", **PLAIN | {"max_age_ms": 1001})
    assert "Max-Age=1" in render("sid", "", **PLAIN | {"max_age_ms": 1000})


def folded(attribute: str) -> str:
    """Attribute names have no case (RFC 6265, section 5.2)."""
    name, equals, value = attribute.partition("=")
    return name.lower() + equals + value


@given(
    st.fixed_dictionaries(
        {
            "path": st.sampled_from(["/", "/app", "/a/b"]),
            "domain": st.sampled_from([None, "example.test", ".example.test"]),
            "expires_ms": st.none() | st.integers(0, 253_402_300_799_999),
            "max_age_ms": st.none() | st.integers(0, 10**12),
            "httponly": st.booleans(),
            "secure": st.booleans(),
            "samesite": st.sampled_from([None, "lax", "strict", "none"]),
            "partitioned": st.booleans(),
            "priority": st.sampled_from([None, "low", "medium", "high"]),
        }
    ),
    st.text(),
)
def test_pythons_own_cookies_have_the_same_attributes(attributes, value):
    text = render("sid", value, **attributes)
    assert text.isascii() and text.isprintable()
    first, *parts = text.split("; ")
    peer = SimpleCookie()
    peer["sid"] = ""
    morsel = peer["sid"]
    morsel.set("sid", value, encode_value(value))
    for ours in ("path", "domain", "httponly", "secure", "samesite"):
        if attributes[ours]:
            morsel[ours] = attributes[ours].capitalize() if ours == "samesite" else attributes[ours]
    if attributes["expires_ms"] is not None:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=attributes["expires_ms"] // 1000)
        morsel["expires"] = f"{moment:%a, %d %b }{moment.year:04}{moment: %H:%M:%S} GMT"
    if attributes["max_age_ms"] is not None:
        morsel["max-age"] = str(-(-attributes["max_age_ms"] // 1000))
    # not known to http.cookies in every version of Python
    extra = {"Partitioned"} if attributes["partitioned"] else set()
    if attributes["priority"]:
        extra.add(f"Priority={attributes['priority'].capitalize()}")
    peers_first, *peers = morsel.OutputString().split("; ")
    assert first == peers_first
    assert sorted(map(folded, parts)) == sorted(map(folded, [*peers, *extra]))


# -- domains ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("domain", "host", "fits"),
    [
        ("example.com", "example.com", True),
        ("example.com", "www.example.com", True),
        ("example.com", "a.b.Example.COM:8000", True),
        (".Example.com", "example.com.", True),
        ("example.com", "badexample.com", False),
        ("www.example.com", "example.com", False),
        ("example.com", "localhost:8000", False),
        ("example.com", "127.0.0.1", False),
        ("example.com", "[::1]:8000", False),
        ("example.com", "[::1]", False),
        ("127.0.0.1", "127.0.0.1:80", True),
        ("localhost", "localhost", True),
        ("example.com", "", False),
        ("example.com", "evil\r\n.example.org", False),
    ],
)
def test_a_domain_fits_a_host_as_browsers_match_them(domain, host, fits):
    assert domain_fits(domain, host) is fits


@pytest.mark.parametrize(("domain", "found"), [(None, ""), ("example.com", "example.com"), (".a.b", ".a.b")])
@pytest.mark.parametrize("path", ["/", "/x"])
def test_the_domain_of_a_cookie_is_found_in_its_header(domain, found, path):
    assert domain_in(render("sid", "; Domain=evil.org", **{**PLAIN, "domain": domain, "path": path})) == found


@pytest.mark.parametrize("domain", ["localhost", "com", ".local"])
def test_a_domain_of_one_label_is_told_once(domain, caplog, monkeypatch):
    monkeypatch.setattr(logs, "_said", set())
    for _ in range(2):
        Cookie(domain=domain)
    Cookie(domain="example.com")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and repr(domain) in record.getMessage()
    assert "one label" in record.getMessage()


# -- the configured cookie --------------------------------------------------------------------------------------------


# contract 120, 130, 131
def test_the_defaults_are_the_safe_ones():
    cookie = Cookie()
    assert (cookie.path, cookie.httponly, cookie.secure, cookie.samesite) == ("/", True, "auto", "lax")
    assert (cookie.max_age, cookie.max_age_ms, cookie.domain, cookie.expires) == (None, None, None, None)
    assert (cookie.partitioned, cookie.priority) == (False, None)


# contract 123, 124, 127
@pytest.mark.parametrize(
    "attributes",
    [
        {"path": "/app"},
        {"path": "/a%20b"},
        {"path": "/caf%C3%A9/~!$&'()*+,:=@[]|-._x"},
        {"path": "/.well-known/a..b/"},
        {"domain": "example.com"},
        {"domain": ".example.com"},
        {"domain": "x"},
        {"httponly": False},
        {"partitioned": True, "secure": True},
        {"priority": "low"},
        {"secure": False},
        {"samesite": "strict"},
        {"samesite": True},
        {"samesite": False},
        {"samesite": None},
        {"samesite": "none", "secure": True},
        {"samesite": "auto"},
        {"samesite": "auto", "secure": True},
        {"max_age": 0},
        {"max_age": timedelta(days=14)},
        {"expires": datetime(2040, 1, 1, tzinfo=UTC)},
    ],
)
def test_what_browsers_accept_is_accepted(attributes):
    cookie = Cookie(**attributes)
    assert {name: getattr(cookie, name) for name in attributes} == attributes


def test_max_age_is_at_hand_in_milliseconds():
    assert Cookie(max_age=timedelta(days=14)).max_age_ms == 14 * 86_400_000
    assert Cookie(max_age=1.5).max_age_ms == 1500


def test_a_cookie_is_a_value():
    assert Cookie(max_age=60) == Cookie(max_age=60)
    assert hash(Cookie(max_age=60)) == hash(Cookie(max_age=60))
    with pytest.raises(AttributeError):
        Cookie().path = "/x"  # type: ignore[misc]


# contract 116, 121, 126
@pytest.mark.parametrize(
    ("attributes", "option"),
    [
        ({"path": ""}, "cookie.path"),
        ({"path": "app"}, "cookie.path"),
        ({"path": "/a;b"}, "cookie.path"),
        ({"path": "/a\r\nX: y"}, "cookie.path"),
        ({"path": "/ü"}, "cookie.path"),
        ({"path": "/a b"}, "cookie.path"),
        ({"path": "/a?b"}, "cookie.path"),
        ({"path": "/a/../b"}, "cookie.path"),
        ({"path": "/a/%2E"}, "cookie.path"),
        ({"path": "/caf%c3%a9"}, "cookie.path"),
        ({"path": "/100%"}, "cookie.path"),
        ({"path": None}, "cookie.path"),
        ({"domain": ""}, "cookie.domain"),
        ({"domain": "a;b"}, "cookie.domain"),
        ({"domain": "a b"}, "cookie.domain"),
        ({"domain": "example.com\n"}, "cookie.domain"),
        ({"domain": "-example.com"}, "cookie.domain"),
        ({"domain": "müller.de"}, "cookie.domain"),
        ({"domain": 1}, "cookie.domain"),
        ({"httponly": 1}, "cookie.httponly"),
        ({"httponly": "no"}, "cookie.httponly"),
        ({"partitioned": None}, "cookie.partitioned"),
        ({"secure": "yes"}, "cookie.secure"),
        ({"secure": None}, "cookie.secure"),
        ({"samesite": "Lax"}, "cookie.samesite"),
        ({"samesite": "off"}, "cookie.samesite"),
        ({"samesite": "none"}, "cookie.samesite"),
        ({"samesite": "none", "secure": False}, "cookie.samesite"),
        ({"samesite": "auto", "secure": False}, "cookie.samesite"),
        ({"priority": "urgent"}, "cookie.priority"),
        ({"max_age": "60"}, "cookie.max_age"),
        ({"max_age": True}, "cookie.max_age"),
        ({"max_age": print}, "cookie.max_age"),
        ({"max_age": -1}, "cookie.max_age"),
        ({"max_age": datetime(2040, 1, 1, tzinfo=UTC)}, "cookie.max_age"),
        ({"max_age": float("nan")}, "cookie.max_age"),
        ({"expires": datetime(2040, 1, 1)}, "cookie.expires"),  # noqa: DTZ001 - that is what is refused
        ({"expires": 60}, "cookie.expires"),
        ({"expires": datetime(2040, 1, 1, tzinfo=UTC), "max_age": 60}, "cookie.expires"),
    ],
)
def test_what_browsers_drop_in_silence_is_refused_at_construction(attributes, option):
    with pytest.raises(ConfigurationError) as caught:
        Cookie(**attributes)
    assert caught.value.option == option
    assert caught.value.given and caught.value.remedy
