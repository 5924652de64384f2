"""Paths as browsers see them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.cookie import Cookie
from sojourn.errors import ConfigurationError
from sojourn.wire.paths import encoded, is_among, normal, path_matches, under


# contract 20, 22, 23, 24
@pytest.mark.parametrize(
    ("path", "cookie_path", "matches"),
    [
        ("/", "/", True),
        ("/anything", "/", True),
        ("/foo", "/foo", True),
        ("/foo/", "/foo", True),
        ("/foo/bar", "/foo", True),
        ("/foobar", "/foo", False),
        ("/foo", "/foo/", False),
        ("/foo/", "/foo/", True),
        ("/foo/bar", "/foo/", True),
        ("/Foo", "/foo", False),
        ("/", "/foo", False),
        ("", "/", False),
        ("//host/foo", "/foo", False),
        ("/foo%2Fbar", "/foo", False),
    ],
)
def test_paths_match_as_browsers_match_them(path, cookie_path, matches):
    assert path_matches(path, cookie_path) is matches


@pytest.mark.parametrize(
    ("decoded", "path"),
    [
        ("/", "/"),
        ("", ""),
        ("/a b", "/a%20b"),
        ("/café", "/caf%C3%A9"),
        ("/100%", "/100%25"),
        ("/%41", "/%2541"),
        ('/"<>`{}#?^\\', "/%22%3C%3E%60%7B%7D%23%3F%5E%5C"),
        ("/-._~!$&'()*+,;=:@[]|09azAZ", "/-._~!$&'()*+,;=:@[]|09azAZ"),
        ("/\x00\x7f", "/%00%7F"),
    ],
)
def test_a_path_is_encoded_as_browsers_do_it(decoded, path):
    assert encoded(decoded.encode()) == path


@pytest.mark.parametrize(
    ("path", "below"),
    [
        ("/hooks", True),
        ("/h%6foks/pay", True),
        ("/%C3%A9/x", True),
        ("/hooksy", False),
        ("/hooks/../account", False),
        ("/hooks/%2E./account", False),
        ("/hooks/..%2faccount", False),
        ("/hooks/..", False),
        ("/hooks/...", True),
    ],
)
def test_a_path_that_leads_out_again_is_not_below(path: str, below: bool) -> None:
    assert is_among(path, ["/hooks", "/%C3%A9"]) is below


@pytest.mark.parametrize("spelling", ["/café", "/caf%C3%A9", "/caf%c3%a9", "/%63af%C3%a9"])
def test_all_spellings_of_a_path_have_one_normal_form(spelling):
    assert normal(spelling) == "/caf%C3%A9"


@given(st.text())
def test_a_normal_form_is_its_own(path):
    assert normal(normal(path)) == normal(path)
    assert encoded(path.encode("utf-8", "surrogatepass")) == normal(encoded(path.encode("utf-8", "surrogatepass")))


@pytest.mark.parametrize(
    ("root", "path", "whole"),
    [
        ("", "/x", "/x"),
        ("/", "/x", "/x"),
        # a proxy took it away, and the framework was told
        ("/app", "/x", "/app/x"),
        ("/app/", "/x", "/app/x"),
        ("/app", "", "/app"),
        ("/app", "/apple", "/app/apple"),
        # a server or a mount that leaves it there
        ("/app", "/app/x", "/app/x"),
        ("/app", "/app", "/app"),
        ("/a%20b", "/a%20b/x", "/a%20b/x"),
    ],
)
def test_what_was_taken_from_the_beginning_is_put_back(root, path, whole):
    assert under(root, path) == whole


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("/a b", "browsers ask for '/a%20b': give it so"),
        ("/café", "browsers ask for '/caf%C3%A9': give it so"),
        ("/a;b", 'give a path that starts with "/", without ";", "." or ".." in it'),
        ("/a/../b", 'give a path that starts with "/", without ";", "." or ".." in it'),
    ],
)
def test_a_cookie_path_that_no_browser_asks_for_is_refused_with_the_right_one(path, remedy):
    with pytest.raises(ConfigurationError) as refused:
        Cookie(path=path)
    assert (refused.value.option, refused.value.given, refused.value.remedy) == ("cookie.path", repr(path), remedy)
