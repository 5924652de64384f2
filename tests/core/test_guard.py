"""The rules of the guard against requests from other sites: the tables of its precedents, what differs from them, and hostile headers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sojourn.errors import ConfigurationError
from sojourn.guard import CrossSiteRules, Refusal, exempt, is_exempt, is_handshake

SITE = "https://site.example"
EVIL = "https://evil.example"
TRUSTED = "https://trusted.example"


def ask(
    rules: CrossSiteRules,
    method: str = "POST",
    path: str = "/",
    *,
    fetch_site: str | Sequence[str] = (),
    origin: str | Sequence[str] = (),
    host: str | Sequence[str] = "site.example",
    https: bool = True,
    direct: bool = False,
    websocket: bool = False,
    others: Mapping[str, Sequence[str]] | None = None,
) -> Refusal | None:
    headers = {"Sec-Fetch-Site": fetch_site, "Origin": origin, "Host": host, **(others or {})}
    values = {name: [given] if isinstance(given, str) else list(given) for name, given in headers.items()}
    return rules.refusal(
        method, lambda: path, lambda name: values.get(name, []), https=https, direct=direct, websocket=websocket
    )


# What Go 1.25 tests of its CrossOriginProtection (src/net/http/csrf_test.go), in our words: method, Sec-Fetch-Site, Origin, whether it passes.
OF_GO: list[tuple[str, str | None, str | None, bool]] = [
    ("POST", "same-origin", None, True),
    ("POST", "none", None, True),
    ("POST", "cross-site", None, False),
    ("POST", "same-site", None, False),
    ("POST", None, None, True),
    ("POST", None, SITE, True),
    ("POST", None, EVIL, False),
    ("POST", None, "null", False),
    ("GET", "cross-site", None, True),
    ("HEAD", "cross-site", None, True),
    ("OPTIONS", "cross-site", None, True),
    ("PUT", "cross-site", None, False),
    ("POST", None, TRUSTED, True),
    ("POST", "cross-site", TRUSTED, True),
    ("POST", "cross-site", EVIL, False),
]


@pytest.mark.parametrize(("method", "fetch_site", "origin", "passes"), OF_GO)
def test_it_decides_as_go_does(method: str, fetch_site: str | None, origin: str | None, passes: bool) -> None:
    rules = CrossSiteRules(trusted_origins=[TRUSTED])
    refusal = ask(rules, method, fetch_site=fetch_site or (), origin=origin or ())
    assert (refusal is None) is passes


@pytest.mark.parametrize(
    ("path", "passes"),
    [
        ("/hooks", True),
        ("/hooks/", True),
        ("/hooks/pay", True),
        ("/%68ooks/pay", True),
        ("/hooksy", False),
        ("/api/hooks", False),
        ("/hooks/../account", False),
        ("/hooks/%2e%2e/account", False),
        ("/hooks/..%2faccount", False),
    ],
)
@pytest.mark.parametrize("fetch_site", ["cross-site", ()])
def test_excluded_paths_pass_and_no_path_that_leads_out_of_them(path: str, passes: bool, fetch_site: Any) -> None:
    refusal = ask(CrossSiteRules(exclude=["/hooks"]), path=path, fetch_site=fetch_site, origin=EVIL)
    assert (refusal is None) is passes


# What Rails 8.2 decides by headers alone (`:header_only`, request_forgery_protection.rb), whether we do the same, and if not, why.
OF_RAILS: list[tuple[str, str | None, str | None, bool, str]] = [
    ("GET", "cross-site", EVIL, True, ""),
    ("HEAD", "cross-site", EVIL, True, ""),
    ("POST", "same-origin", SITE, True, ""),
    ("POST", "cross-site", TRUSTED, True, ""),
    ("POST", "cross-site", EVIL, False, ""),
    ("POST", "same-site", SITE, True, "a subdomain may be somebody else's: Go refuses it, too"),
    ("POST", "none", None, False, "the visitor asked for it, as at a reload; Go lets it pass"),
    (
        "POST",
        None,
        None,
        False,
        "over https Rails takes it for a browser that hides something; no browser sends neither",
    ),
    (
        "OPTIONS",
        "cross-site",
        EVIL,
        False,
        "OPTIONS changes nothing (RFC 9110, 9.2.1), and is how browsers ask for leave",
    ),
]


@pytest.mark.parametrize(("method", "fetch_site", "origin", "in_rails", "why"), OF_RAILS)
def test_where_it_differs_from_rails_there_is_a_reason(
    method: str, fetch_site: str | None, origin: str | None, in_rails: bool, why: str
) -> None:
    rules = CrossSiteRules(trusted_origins=[TRUSTED])
    passes = ask(rules, method, fetch_site=fetch_site or (), origin=origin or ()) is None
    assert (passes is not in_rails) is bool(why)


def test_over_https_the_strict_rules_want_one_of_the_headers_as_rails_does() -> None:
    refusal = ask(CrossSiteRules(strict=True))
    assert refusal is not None
    assert refusal.seen == "Neither Sec-Fetch-Site nor Origin was sent."
    assert ask(CrossSiteRules(strict=True), fetch_site="same-origin") is None
    assert ask(CrossSiteRules(strict=True), origin=SITE) is None
    assert ask(CrossSiteRules(strict=True), "GET") is None
    assert ask(CrossSiteRules(strict=True, exclude=["/hooks"]), path="/hooks/pay") is None


@pytest.mark.parametrize(
    ("origin", "host", "https", "passes"),
    [
        ("https://site.example", "site.example", True, True),
        ("http://site.example", "site.example", True, False),  # somebody on the way may have made that page
        ("https://site.example", "site.example", False, False),
        ("http://site.example", "site.example", False, True),
        ("https://site.example", "site.example:443", True, True),
        ("https://site.example:443", "site.example", True, True),
        ("http://site.example", "site.example:80", False, True),
        ("https://site.example", "site.example:80", True, False),
        ("https://site.example:8443", "site.example:8443", True, True),
        ("https://site.example:8443", "site.example", True, False),
        ("https://SITE.example", "Site.Example", True, True),
        ("https://sub.site.example", "site.example", True, False),
        ("http://[::1]:8000", "[::1]:8000", False, True),
        ("https://site.example", (), True, False),
        ("https://site.example", ("site.example", "site.example"), True, False),
        ("https://site.example", "", True, False),
        ("https://site.example/", "site.example", True, False),
        ("https://site.example@evil.example", "site.example", True, False),
        ("https://site.example https://site.example", "site.example", True, False),
        ("", "site.example", True, False),
        ("https://site.example:99999", "site.example:99999", True, False),
    ],
)
def test_the_sites_own_origin_is_scheme_host_and_port(origin: str, host: Any, https: bool, passes: bool) -> None:
    assert (ask(CrossSiteRules(), origin=origin, host=host, https=https) is None) is passes


@pytest.mark.parametrize(
    ("trust_proxy", "https", "direct", "others", "own"),
    [
        (
            None,
            False,
            False,
            {"X-Forwarded-Proto": ["https"], "X-Forwarded-Host": ["a.example"]},
            "http://site.example",
        ),
        (True, False, False, {"X-Forwarded-Proto": ["https"]}, "https://site.example"),
        (
            True,
            False,
            False,
            {"X-Forwarded-Proto": ["https, http"], "X-Forwarded-Host": ["a.example, b"]},
            "https://a.example",
        ),
        (True, False, False, {"X-Forwarded-Host": ["a.example:8080", "b.example"]}, "http://a.example:8080"),
        (True, False, False, {}, "http://site.example"),
        (False, True, False, {"X-Forwarded-Proto": ["https"]}, "http://site.example"),
        (False, True, True, {"X-Forwarded-Host": ["a.example"]}, "https://site.example"),
    ],
)
def test_the_sites_own_origin_is_as_the_browser_sees_it(
    trust_proxy: bool | None, https: bool, direct: bool, others: dict[str, list[str]], own: str
) -> None:
    rules = CrossSiteRules(trust_proxy=trust_proxy)
    for scheme in ("http", "https"):
        for host in ("site.example", "a.example", "a.example:8080", "b.example"):
            origin = f"{scheme}://{host}"
            passes = ask(rules, origin=origin, https=https, direct=direct, others=others) is None
            assert passes is (origin == own)


@pytest.mark.parametrize(
    ("fetch_site", "origin", "passes"),
    [
        ((), SITE, True),
        ((), EVIL, False),
        ((), "null", False),
        ((), TRUSTED, True),
        ((), (), True),
        ("same-origin", EVIL, False),  # of a handshake the Origin decides
        ("cross-site", SITE, True),
    ],
)
def test_the_handshake_of_a_websocket_is_judged_by_its_origin(fetch_site: Any, origin: Any, passes: bool) -> None:
    rules = CrossSiteRules(trusted_origins=[TRUSTED])
    refusal = ask(rules, "GET", fetch_site=fetch_site, origin=origin, websocket=True)
    assert (refusal is None) is passes


@pytest.mark.parametrize(
    ("upgrade", "expected"),
    [
        ([], False),
        (["websocket"], True),
        (["WebSocket"], True),
        (["h2c, websocket"], True),
        (["h2c", " websocket "], True),
        (["h2c"], False),
        (["websockets"], False),
    ],
)
def test_a_handshake_is_known_by_its_upgrade(upgrade: list[str], expected: bool) -> None:
    assert is_handshake(upgrade) is expected


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("site.example", "'site.example'"),
        ("", "''"),
        ("null", "'null'"),
        ("*", "'*'"),
        ("https://", "'https://'"),
        ("https://site.example/", "'https://site.example/'"),
        ("https://site.example/path", "'https://site.example/path'"),
        ("https://site.example?query=value", "'https://site.example?query=value'"),
        ("https://site.example#fragment", "'https://site.example#fragment'"),
        ("https://si te.example", "'https://si te.example'"),
        ("https://*.site.example", "'https://*.site.example'"),
        ("https://bücher.example", "'https://bücher.example'"),
        ("https://site.example:70000", "'https://site.example:70000'"),
        ("wss://site.example", "'wss://site.example'"),
        (b"https://site.example", "b'https://site.example'"),
        (None, "None"),
    ],
)
def test_what_is_no_origin_cannot_be_trusted(given: Any, shown: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        CrossSiteRules(trusted_origins=[TRUSTED, given])
    assert (caught.value.option, caught.value.given) == ("trusted_origins", shown)
    assert "give" in caught.value.remedy


@pytest.mark.parametrize(
    ("trusted", "origin"),
    [
        ("https://admin.example:443", "https://admin.example"),
        ("http://admin.example:80", "http://admin.example"),
        ("HTTPS://Admin.Example", "https://admin.example"),
        ("https://admin.example:8443", "https://admin.example:8443"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
    ],
)
def test_a_trusted_origin_is_meant_as_browsers_write_it(trusted: str, origin: str) -> None:
    rules = CrossSiteRules(trusted_origins=(trusted,))
    assert ask(rules, fetch_site="cross-site", origin=origin) is None
    assert ask(rules, fetch_site="cross-site", origin=origin.replace("://", "://sub.")) is not None


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"trusted_origins": "https://site.example"}, "trusted_origins"),
        ({"trusted_origins": 1}, "trusted_origins"),
        ({"exclude": "/hooks"}, "exclude"),
        ({"exclude": ["hooks"]}, "exclude"),
        ({"strict": 1}, "strict"),
        ({"trust_proxy": "yes"}, "trust_proxy"),
        ({"same_site": "allow"}, "same_site"),
    ],
)
def test_a_wrong_option_is_refused_by_its_name(options: dict[str, Any], option: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        CrossSiteRules(**options)
    assert caught.value.option == option


@pytest.mark.parametrize(
    "headers",
    [
        {"fetch_site": ["same-origin", "same-origin"]},
        {"fetch_site": "same-origin,same-origin"},
        {"fetch_site": "Same-Origin"},
        {"fetch_site": ""},
        {"fetch_site": ["same-origin", "cross-site"]},
        {"origin": [SITE, SITE]},
        {"origin": f"{SITE}, {SITE}"},
        {"origin": [TRUSTED, TRUSTED]},
        {"origin": [TRUSTED, EVIL], "fetch_site": "cross-site"},
        {"origin": "https://site.example\udcff"},
        {"origin": "https://tru\N{KELVIN SIGN}ted.example"},
        {"origin": "https://" + "a" * 100_000},
    ],
)
def test_what_no_browser_sends_is_refused(headers: dict[str, Any]) -> None:
    assert ask(CrossSiteRules(trusted_origins=[TRUSTED]), **headers) is not None


VALUES = st.lists(
    st.one_of(st.sampled_from([SITE, EVIL, TRUSTED, "null", "same-origin", "none", "same-site"]), st.text()), max_size=3
)


@given(
    method=st.one_of(st.sampled_from(["GET", "POST"]), st.text()),
    sites=VALUES,
    origins=VALUES,
    hosts=VALUES,
    path=st.text(),
    websocket=st.booleans(),
)
@example(method="POST", sites=["\r\n" * 200], origins=["<script>"], hosts=["\x00"], path="/\r\nforged", websocket=False)
def test_no_request_raises_and_what_is_told_of_it_is_short_and_harmless(
    method: str, sites: list[str], origins: list[str], hosts: list[str], path: str, websocket: bool
) -> None:
    rules = CrossSiteRules(trusted_origins=[TRUSTED], exclude=["/hooks"], trust_proxy=True)
    others = {"X-Forwarded-Proto": sites, "X-Forwarded-Host": hosts}
    refusal = ask(rules, method, path, fetch_site=sites, origin=origins, host=hosts, websocket=websocket, others=others)
    if refusal is None:
        assert (
            (method in ("GET", "HEAD", "OPTIONS", "TRACE") and not websocket)
            or (sites in (["same-origin"], ["none"]) and not websocket)
            or origins == [TRUSTED]
            or (not origins and (websocket or not sites))
            or (len(origins) == 1 and "://" in origins[0])
            or path.startswith("/hooks")
        )
    else:
        assert refusal.body.isascii() and refusal.text.isprintable() and len(refusal.body) < 4000
        assert not set("<>&\"'`") & set(refusal.text)
        assert dict(refusal.headers)["Content-Length"] == str(len(refusal.body))


def test_a_refusal_says_what_was_seen_and_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "sojourn"):
        refusal = ask(CrossSiteRules(), "PUT", "/account", fetch_site="cross-site", origin=EVIL)
        assert refusal is not None
        assert refusal.seen == "Sec-Fetch-Site: cross-site; Origin: https://evil.example."
        assert ask(CrossSiteRules(), "PUT", fetch_site="same-origin") is None
    assert caplog.messages == [f"refused as another site may have sent it: PUT /account: {refusal.seen}"]
    refusal = ask(CrossSiteRules(), origin=EVIL)
    assert refusal is not None
    assert refusal.seen == "Origin: https://evil.example; this site: https://site.example."
    refusal = ask(CrossSiteRules(), origin=EVIL, host=())
    assert refusal is not None
    assert refusal.seen == "Origin: https://evil.example; this site: unknown, as there is no one Host."


def test_what_a_refusal_quotes_forges_no_line_and_no_markup(caplog: pytest.LogCaptureFixture) -> None:
    hostile = "https://evil.example\r\nsojourn: all is well <script>alert('1')</script>\x1b[2J\xe9"
    refusal = ask(CrossSiteRules(), "POST\n", "/\r\n<b>", fetch_site=["cross-site"] * 50, origin=hostile * 100)
    assert refusal is not None
    assert r"evil.example\x0d\x0asojourn: all is well \x3cscript\x3e" in refusal.seen
    assert refusal.seen.endswith("...."), "the end is cut off"
    assert refusal.seen.count("cross-site") == 3
    (line,) = caplog.messages
    assert r"POST\x0a /\x0d\x0a\x3cb\x3e" in line
    assert line.isprintable() and len(line) < 1000


def test_only_what_is_marked_is_exempt() -> None:
    def one() -> None: ...

    @exempt
    def other() -> None: ...

    assert [is_exempt(view) for view in (one, other, None)] == [False, True, False]
