"""Scenarios for Hypothesis.

What is left out, and why:

- values that JSON does not have, faults of the store, ids of one's own, fixed expiry dates: written by hand (contract 71, 72, 175,
  62, 123), as are cookies that are refused when configured (116);
- keys that look like array indexes: JavaScript sorts them before all others, and order is compared;
- a lifetime below a second, as it lasts for a millisecond here and for none in Express (137), or beyond the time that passes
  here, which is less than a day but in one large step (191);
- ``sameSite: true``, ``secure: 'auto'`` assigned at runtime: spelled otherwise here ("strict"), and not resolved in Express (118);
- requests that overlap but do not contain one another: as loads come first, no store could tell them from those that do.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.differential.scenario import DAY, HOUR, MINUTE, OLD_SECRET, SECOND, SECRET, Json, Op, Request, Scenario

__all__ = ["scenarios"]

_KEYS = st.sampled_from(["a", "b", "c"])
_PATHS = st.lists(_KEYS, min_size=1, max_size=2)
_LEAVES = st.sampled_from([0, 1, 2, -5, 1.5, True, False, None, "", "x", "ünï☕"])
_VALUES: st.SearchStrategy[Any] = st.one_of(
    _LEAVES,
    st.sampled_from(
        [{}, {"a": 1}, {"b": {"a": 1}}, {"cookie": 1}, [], [1], [{"a": 1}], {"a": 1, "b": 2}, {"b": 2, "a": 1}]
    ),
)
_LIFETIMES = st.sampled_from([MINUTE, HOUR, 90 * SECOND + 700])
_CONNECTIONS = ["http", "http", "tls", "proxied", "forwarded"]
_URLS = st.sampled_from(["/", "/app", "/app/x", "/application", "/other?q=/app"])


def _op(name: str, *given: st.SearchStrategy[Any]) -> st.SearchStrategy[Op]:
    return st.tuples(st.just(name), *given).map(list)


_ATTRIBUTES = st.one_of(
    _op("cookie", st.just("maxAge"), st.one_of(st.none(), _LIFETIMES)),
    _op("cookie", st.just("expires"), st.none()),
    _op("cookie", st.just("httpOnly"), st.booleans()),
    _op("cookie", st.just("secure"), st.booleans()),
    _op("cookie", st.just("path"), st.sampled_from(["/", "/app"])),
    _op("cookie", st.just("sameSite"), st.sampled_from(["lax", "strict", "none", False])),
    _op("cookie", st.just("domain"), st.sampled_from([None, "example.com"])),
    _op("cookie", st.just("priority"), st.sampled_from([None, "low", "high"])),
    _op("cookie", st.just("partitioned"), st.booleans()),
)
_SET = _op("set", _PATHS, _VALUES)
_READ = st.just(["read"])
_OPS = st.one_of(
    _SET,
    _SET,
    _READ,
    _ATTRIBUTES,
    _op("delete", _PATHS),
    _op("append", _PATHS, _LEAVES),
    _op("increment", _KEYS, st.integers(-2, 3)),
    _ATTRIBUTES,
    st.just(["touch"]),
    st.just(["save"]),
    st.just(["reload"]),
    st.just(["regenerate"]),
    st.just(["destroy"]),
    _op("unset", st.sampled_from(["null", "delete", "undefined"])),
    _op("replace", st.dictionaries(_KEYS, _VALUES, max_size=2)),
    _op("write", st.sampled_from(["x", "yz"])),
    _op("status", st.sampled_from([201, 302, 404, 500])),
    _op("ownCookie", st.sampled_from(["theme=dark; Path=/", "a=b; Path=/; HttpOnly"])),
    _op("advance", st.sampled_from([1, 700, 20 * SECOND])),
    st.just(["store"]),
)


def _one_in(draw: st.DrawFn, number: int) -> bool:
    """Shrinks to False."""
    return draw(st.integers(1, number)) == number


@st.composite
def _cookies(draw: st.DrawFn) -> Any:
    """A Cookie header that no jar would send: earlier cookies, tampered with, several of them."""
    spoils = st.sampled_from(
        ["not"] * 4
        + ["signature", "id", "marker", "unsigned", "empty", "alone", "quoted", "plain", "blanks", "twice", "torn"]
    )
    part = st.one_of(
        st.fixed_dictionaries({"past": st.integers(0, 3), "spoil": spoils}),
        st.fixed_dictionaries({"past": st.integers(0, 3)}, optional={"of": st.just(0)}),
        st.just({"sign": "never-issued"}),
        st.sampled_from(["other=1", "connect.sid=", "connect.sid", "; ;"]),
    )
    return draw(st.lists(part, max_size=3))


@st.composite
def _requests(draw: st.DrawFn, apps: int, clients: int, usual: str, depth: int = 1) -> Request:
    ops = draw(st.lists(_OPS, max_size=5))
    if depth and _one_in(draw, 2):
        ops.insert(draw(st.integers(0, len(ops))), ["during", draw(_requests(apps, clients, usual, depth - 1))])
    request: Request = {"ops": ops}
    if clients > 1:
        request["client"] = draw(st.integers(0, clients - 1))
    if apps > 1:
        request["app"] = draw(st.integers(0, apps - 1))
    if _one_in(draw, 4):
        request["path"] = draw(_URLS)
    connection = draw(st.sampled_from(_CONNECTIONS)) if _one_in(draw, 5) else usual
    if connection == "forwarded":
        request["forwarded"] = draw(st.sampled_from(["https", "http", "HTTPS , http", "http,https", ""]))
    elif connection != "http":
        request["connection"] = connection
    if _one_in(draw, 5):
        request["cookies"] = draw(_cookies())
    if _one_in(draw, 2):
        request["advance"] = draw(st.sampled_from([1, 600, 30 * SECOND, 59 * SECOND + 999, 61 * SECOND, 2 * DAY]))
    if not any(op[0] in ("write", "status") for op in ops) and _one_in(draw, 6):
        request["method"] = draw(st.sampled_from(["HEAD", "POST"]))
    return request


@st.composite
def _configured(draw: st.DrawFn) -> Json:
    """What a cookie may be: nothing that is refused here (contract 116)."""
    cookie: Json = {}
    if draw(st.booleans()):
        cookie["maxAge"] = draw(_LIFETIMES)
    secure = draw(st.sampled_from([None, None, False, True, "auto"]))
    if secure is not None:
        cookie["secure"] = secure
    allowed = [None, None, "lax", "strict", True] + (["auto"] if secure else []) + (["none"] if secure is True else [])
    same_site = draw(st.sampled_from(allowed))
    if same_site is not None:
        cookie["sameSite"] = same_site
    if _one_in(draw, 4):
        more = st.fixed_dictionaries(
            {},
            optional={
                "path": st.sampled_from(["/app", "/app/"]),
                "httpOnly": st.booleans(),
                "domain": st.just("example.com"),
                "priority": st.sampled_from(["low", "medium", "high"]),
                "partitioned": st.booleans(),
            },
        )
        cookie |= draw(more)
    return {"function": cookie} if _one_in(draw, 10) else cookie


@st.composite
def _apps(draw: st.DrawFn) -> Json:
    app: Json = {}
    for name in ("resave", "saveUninitialized"):
        given = draw(st.sampled_from([False, False, True, None]))
        if given is not None:
            app[name] = given
    if _one_in(draw, 3):
        app["rolling"] = True
    unset = draw(st.sampled_from([None, "destroy", "keep"]))
    if unset is not None:
        app["unset"] = unset
    proxy = draw(st.sampled_from([None, True, False]))
    if proxy is not None:
        app["proxy"] = proxy
    cookie = draw(_configured())
    if cookie:
        app["cookie"] = cookie
    secret = draw(st.sampled_from([None, None, None, [SECRET, OLD_SECRET], [OLD_SECRET, SECRET]]))
    if secret is not None:
        app["secret"] = secret
    return app


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    apps = draw(st.lists(_apps(), min_size=1, max_size=2 if _one_in(draw, 3) else 1))
    clients = 2 if _one_in(draw, 4) else 1
    usual = draw(st.sampled_from(_CONNECTIONS))
    requests = draw(st.lists(_requests(len(apps), clients, usual), min_size=1, max_size=5))
    if _one_in(draw, 2):  # most of what there is to see is seen of a session that is stored
        begin: Request = {"ops": [["set", ["a"], {"a": 1}], ["set", ["b"], 1], ["set", ["c"], [1]]]}
        requests.insert(0, begin if usual in ("http", "forwarded") else {**begin, "connection": usual})
    return {"apps": apps, "clients": clients, "requests": requests}
