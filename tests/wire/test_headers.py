from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.wire.headers import BYTES, TEXT, with_session

COOKIE = "sid=1; Path=/"


def added(headers: list[tuple[str, str]], *, cookie: str | None = None, vary: bool = False) -> list[tuple[str, str]]:
    """The headers in both string types, which must come to the same."""
    header = None if cookie is None else ("Set-Cookie", cookie)
    text = with_session(headers, TEXT, session_header=header, vary=["Cookie"] if vary else [])
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    header_raw = None if cookie is None else (b"set-cookie", cookie.encode())
    lower = with_session(raw, BYTES, session_header=header_raw, vary=[b"Cookie"] if vary else [])
    assert [(n.lower(), v) for n, v in text] == [(n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in lower]
    return text


def test_nothing_is_added_that_is_not_due():
    headers = [("Content-Type", "text/html"), ("X-One", "1")]
    result = added(headers)
    assert result == headers
    assert result is not headers


def test_headers_may_be_lists_too():
    assert with_session([[b"x-one", b"1"]], BYTES, session_header=None, vary=()) == [(b"x-one", b"1")]  # type: ignore[list-item]


# contract 99, 101
def test_the_session_cookie_is_the_last_and_the_apps_own_stand():
    headers = [("Set-Cookie", "a=1"), ("X-One", "1"), ("Set-Cookie", "b=2")]
    assert added(headers, cookie=COOKIE) == [*headers, ("Cache-Control", "no-store"), ("Set-Cookie", COOKIE)]


# contract 101
@pytest.mark.parametrize("name", ["Cache-Control", "cache-control", "CACHE-CONTROL"])
def test_the_apps_own_cache_control_stands(name):
    assert added([(name, "private")], cookie=COOKIE) == [(name, "private"), ("Set-Cookie", COOKIE)]


# contract 101
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], ["Cookie"]),
        ([""], ["Cookie"]),
        (["Accept"], ["Accept, Cookie"]),
        (["Accept, Origin"], ["Accept, Origin, Cookie"]),
        (["Cookie"], ["Cookie"]),
        (["cookie"], ["cookie"]),
        (["Accept,cookie , Origin"], ["Accept,cookie , Origin"]),
        (["X-Cookie"], ["X-Cookie, Cookie"]),
        (["*"], ["*"]),
        (["Accept, *"], ["Accept, *"]),
        (["Accept", "Origin"], ["Accept", "Origin, Cookie"]),
        (["Cookie", "Origin"], ["Cookie", "Origin"]),
        (["Origin", "Cookie"], ["Origin", "Cookie"]),
    ],
)
@pytest.mark.parametrize("name", ["Vary", "vary"])
def test_vary_names_the_cookie_once(before, after, name):
    headers = [("X-One", "1"), *((name, value) for value in before), ("X-Two", "2")]
    result = added(headers, vary=True)
    assert [value for key, value in result if key.lower() == "vary"] == after
    assert [pair for pair in result if pair[0].startswith("X-")] == [("X-One", "1"), ("X-Two", "2")]


def test_vary_names_all_that_may_bring_an_id():
    headers = [("Vary", "Accept")]
    result = with_session(headers, TEXT, session_header=("X-Session-Id", "1"), vary=("Cookie", "X-Session-Id"))
    assert result == [("Vary", "Accept, Cookie, X-Session-Id"), ("Cache-Control", "no-store"), ("X-Session-Id", "1")]


WORDS = st.sampled_from(["Vary", "vary", "Cookie", "*", "Cache-Control", "Set-Cookie", "X", "Accept, Cookie", ""])


@given(st.lists(st.tuples(WORDS, WORDS)), st.booleans(), st.sampled_from([None, COOKIE]))
def test_whatever_the_app_sends_stays_and_a_second_pass_adds_no_second_vary(headers, vary, cookie):
    once = added(headers, cookie=cookie, vary=vary)
    for (name, value), (before_name, before_value) in zip(once, headers, strict=False):
        assert name == before_name
        assert value.startswith(before_value)
    assert added(once, vary=vary) == once


@pytest.mark.parametrize(("own", "sent"), [([], ["cache"]), ([("clear-SITE-data", "its own")], ["its own"])])
def test_what_the_browser_is_to_forget_goes_with_the_sessions_header_unless_the_app_says_it(
    own: list[tuple[str, str]], sent: list[str]
):
    result = with_session(own, TEXT, session_header=("Set-Cookie", COOKIE), vary=(), clears="cache")
    assert [value for name, value in result if name.lower() == "clear-site-data"] == sent
    assert result[-1] == ("Set-Cookie", COOKIE)
    assert with_session(own, TEXT, session_header=None, vary=(), clears="cache") == own
