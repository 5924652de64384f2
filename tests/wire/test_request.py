"""What requests bring: where there are sessions, over what connection, and under which ids."""

from __future__ import annotations

from typing import Any

import pytest

from sojourn.cookie import Cookie
from sojourn.errors import ConfigurationError
from sojourn.wire.cookies import encode_value
from sojourn.wire.signing import Signer, Verified
from tests.core.making import OLD_SECRET, SECRET, make_incoming


# contract 20 to 25
@pytest.mark.parametrize(
    ("cookie_path", "exclude", "path", "has"),
    [
        ("/", (), "/", True),
        ("/", (), "", True),
        ("/", (), "*", True),
        ("/app", (), "/app", True),
        ("/app", (), "/app/x", True),
        ("/app", (), "/apple", False),
        ("/app", (), "/", False),
        ("/app", (), "", False),
        ("/", ("/static",), "/static", False),
        ("/", ("/static",), "/static/a.css", False),
        ("/", ("/static",), "/statics", True),
        ("/", ("/static/",), "/static", True),
        ("/", ("/static/",), "/static/a.css", False),
        ("/", ("/a", "/b"), "/b/c", False),
        ("/", ("/",), "/anything", False),
        ("/app", ("/app/static",), "/app/static/x", False),
    ],
)
def test_where_there_are_sessions(cookie_path, exclude, path, has):
    incoming = make_incoming(cookie=Cookie(path=cookie_path), exclude=exclude)
    assert (incoming.cookie_for({}, path) is not None) is has


# contract 140, 141
def test_a_cookie_function_sees_the_request_and_decides_the_path():
    seen = []

    def cookie(request: Any) -> Cookie:
        seen.append(request)
        return Cookie(path="/" + request["tenant"])

    incoming = make_incoming(cookie=cookie, exclude=["/a/static"])
    assert incoming.cookie_for({"tenant": "a"}, "/a/x") == Cookie(path="/a")
    assert incoming.cookie_for({"tenant": "b"}, "/a/x") is None
    assert incoming.cookie_for({"tenant": "a"}, "/a/static") is None
    assert seen == [{"tenant": "a"}, {"tenant": "b"}]


@pytest.mark.parametrize("answer", [None, {"path": "/"}])
def test_a_cookie_function_must_answer_a_cookie(answer):
    with pytest.raises(ConfigurationError) as caught:
        make_incoming(cookie=lambda request: answer).cookie_for({}, "/")
    assert caught.value.option == "cookie"


def cookie_header(*values: str, name: str = "sid") -> bytes:
    return "; ".join(f"{name}={value}" for value in values).encode()


def signed(session_id: str, secret: bytes = SECRET) -> str:
    return encode_value(Signer([secret]).sign(session_id))


# contract 31, 34, 36
def test_every_rightly_signed_id_is_found_in_order_and_once():
    incoming = make_incoming(secret=[SECRET, OLD_SECRET])
    headers = [
        cookie_header("junk", signed("a"), signed("b", OLD_SECRET), signed("a")),
        b"other=1; " + cookie_header(signed("c", b"x" * 32)),
        cookie_header(f'"{signed("d")}"', ""),
    ]
    found = incoming.ids(headers, Cookie(), secure=False)
    assert found == [Verified("a", stale=False), Verified("b", stale=True), Verified("d", stale=False)]


def test_a_flood_of_ids_is_bounded():
    found = make_incoming().ids([cookie_header(*(signed(str(number)) for number in range(20)))], Cookie(), secure=False)
    assert [verified.id for verified in found] == [str(number) for number in range(8)]


@pytest.mark.parametrize(
    ("config", "secure", "name", "found"),
    [
        (Cookie(), False, "sid", True),
        (Cookie(), True, "sid", False),
        (Cookie(), True, "__Host-sid", True),
        (Cookie(), False, "__Host-sid", False),
        (Cookie(secure=True), False, "__Host-sid", True),
        (Cookie(secure=False), True, "sid", True),
        (Cookie(path="/app"), True, "sid", True),
    ],
)
@pytest.mark.parametrize("as_function", [False, True])
def test_a_cookie_is_read_under_the_name_it_is_sent_by_and_no_other(config, secure, name, found, as_function):
    incoming = make_incoming(cookie=(lambda request: config) if as_function else config)
    ids = incoming.ids([cookie_header(signed("a"), name=name)], config, secure=secure)
    assert bool(ids) is found


def test_an_id_that_needs_percent_encoding_comes_back():
    incoming = make_incoming()
    for value in (signed("ü;€ %41"), Signer([SECRET]).sign("%41")):
        (found,) = incoming.ids([cookie_header(value)], Cookie(), secure=False)
        assert found.id in ("ü;€ %41", "%41")


# contract 105 to 108
@pytest.mark.parametrize(
    ("trust", "https", "forwarded", "direct", "secure"),
    [
        # None: what the server says
        (None, False, None, False, False),
        (None, True, None, False, True),
        (None, False, "https", False, False),
        (None, True, "http", False, True),
        (None, False, None, True, False),
        # True: the first proxy's word
        (True, False, None, False, False),
        (True, False, "https", False, True),
        (True, False, "HTTPS , http", False, True),
        (True, False, " https", False, True),
        (True, False, "http, https", False, False),
        (True, False, "", False, False),
        (True, False, "httpsx", False, False),
        (True, True, None, False, True),
        (True, True, "http", True, True),
        # False: nobody's, and a header's presence makes the scheme doubtful
        (False, False, "https", False, False),
        (False, True, "https", False, False),
        (False, True, "http", False, False),
        (False, True, None, False, True),
        (False, False, None, False, False),
        (False, True, "https", True, True),
    ],
)
def test_whose_word_is_taken_for_https(trust, https, forwarded, direct, secure):
    assert make_incoming(trust_proxy=trust).is_secure(https=https, forwarded=forwarded, direct=direct) is secure
