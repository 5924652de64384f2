"""What is kept of Cookie headers: that their signatures are right, and nothing else; bounded, and never another cookie's."""

from __future__ import annotations

from typing import Any

import pytest

from sojourn import Cookie
from sojourn.errors import ConfigurationError
from sojourn.middleware.arrivals import Arrivals
from sojourn.middleware.sync import SyncMiddleware
from sojourn.wire.signing import Signer
from tests.core.making import OLD_SECRET, SECRET

SIGN = Signer([SECRET]).sign
SIZE = 4 * 1024 * 1024


class CountingReader:
    """A middleware's reader, which counts what it is asked."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self.asked: list[list[bytes]] = []

    def ids(self, headers: list[bytes], cookie: Cookie, *, secure: bool) -> Any:
        self.asked.append(headers)
        return self._reader.ids(headers, cookie, secure=secure)


def make(size: int = SIZE, **options: Any) -> tuple[Arrivals, CountingReader]:
    given: Any = {"secret": SECRET, **options}
    middleware = SyncMiddleware(given)
    reader = CountingReader(middleware.reader)
    return Arrivals(reader, middleware.settings, size), reader  # type: ignore[arg-type]


def header(session_id: str = "a", name: str = "sid", beside: str = "") -> bytes:
    return f"{name}={SIGN(session_id)}{beside}".encode()


def bring(arrivals: Arrivals, raw: bytes, *, secure: bool = False, config: Cookie | None = None) -> list[str]:
    arrival = arrivals.by_cookie(raw, Cookie() if config is None else config, secure=secure)
    assert arrival.secure is secure
    return [verified.id for verified in arrival.ids]


def kept(arrivals: Arrivals) -> set[bytes]:
    return {raw for known in arrivals.known for raw in known if raw is not None}


def test_a_header_is_verified_once_and_the_arrival_is_the_same():
    arrivals, reader = make()
    first = arrivals.by_cookie(header(), Cookie(), secure=False)
    assert arrivals.by_cookie(header(), Cookie(), secure=False) is first
    assert len(reader.asked) == 1
    assert first.keys == (SyncMiddleware({"secret": SECRET}).settings.key_of("a"),)


def test_any_other_header_is_verified_anew():
    arrivals, reader = make()
    for raw in (header("a"), header("b"), header("a", beside="; x=1"), header("a") + b" "):
        bring(arrivals, raw)
    assert len(reader.asked) == 4


@pytest.mark.parametrize(
    "raw",
    [
        header() + b"x",
        header()[:-1],
        header("b").split(b".")[0] + b"." + header("a").split(b".")[1],
        b"sid=a",
        b"other=1",
        b"",
    ],
)
def test_what_brings_no_id_is_not_kept(raw):
    arrivals, reader = make()
    bring(arrivals, header())
    assert bring(arrivals, raw) == bring(arrivals, raw) == []
    assert len(reader.asked) == 3 and kept(arrivals) == {header()}


def test_over_https_a_header_is_read_under_the_name_that_the_cookie_has_there():
    arrivals, _ = make(cookie=Cookie(secure="auto"))
    both = header("a") + b"; " + header("b", name="__Host-sid")
    assert [bring(arrivals, both, secure=secure) for secure in (False, True, False, True)] == [["a"], ["b"]] * 2


def test_that_an_id_is_to_be_signed_anew_is_kept_too():
    arrivals, reader = make(secret=[b"a new secret that is long enough as well", SECRET])
    for _ in range(2):
        (verified,) = arrivals.by_cookie(header(), Cookie(), secure=False).ids
        assert verified.needs_resigning
    assert len(reader.asked) == 1


def test_a_secret_that_was_taken_away_opens_nothing_as_each_middleware_keeps_its_own():
    arrivals, _ = make()
    assert bring(arrivals, header()) == ["a"]
    without, _ = make(secret=OLD_SECRET)
    assert bring(without, header()) == []


def test_it_is_bounded_in_bytes_and_the_oldest_go_first():
    arrivals, reader = make(size=20_000, cookie=Cookie(secure=False))  # of one name over http and https
    headers = [header(f"id-{number}", beside="; x=" + "y" * 1000) for number in range(50)]
    for raw in headers:
        bring(arrivals, raw, secure=raw in headers[::2])
    left = kept(arrivals)
    assert sum(map(len, left)) < 20_000 and 5 < len(left) < 20
    assert headers[-1] in left and headers[-2] in left and not left & set(headers[:20])
    before = len(reader.asked)
    assert bring(arrivals, headers[-1]) == ["id-49"] and bring(arrivals, headers[1]) == ["id-1"]
    assert len(reader.asked) == before + 1


def test_a_header_that_alone_is_too_large_is_not_kept():
    arrivals, _ = make(size=2_000)
    assert bring(arrivals, header(beside="; x=" + "y" * 3000)) == ["a"]
    assert kept(arrivals) == set()


def test_with_no_room_nothing_is_kept():
    arrivals, reader = make(size=0)
    assert bring(arrivals, header()) == bring(arrivals, header()) == ["a"]
    assert len(reader.asked) == 2 and kept(arrivals) == set()


@pytest.mark.parametrize(
    "options", [{"cookie": lambda _request: Cookie()}, {"generate_id": lambda _request: "x"}, {"exclusive": bool}]
)
def test_what_depends_on_the_request_is_not_kept(options):
    arrivals, reader = make(**options)
    request = {"the": "request"}
    for _ in range(2):
        assert arrivals.by_cookie(header(), Cookie(), secure=False, request=request).request is request
    assert len(reader.asked) == 2 and arrivals.known == ({}, {})


def test_while_another_thread_keeps_something_a_header_is_verified_without_waiting():
    arrivals, reader = make()
    arrivals._lock.acquire()  # or: the process was forked in that moment
    assert bring(arrivals, header()) == bring(arrivals, header()) == ["a"]
    assert len(reader.asked) == 2 and kept(arrivals) == set()
    arrivals._lock.release()
    bring(arrivals, header())
    assert kept(arrivals) == {header()}


def test_what_two_threads_verified_at_once_is_counted_once():
    arrivals, _ = make()
    one, other = (
        arrivals.of(Cookie(), arrivals._reader.ids([header()], Cookie(), secure=False), secure=False) for _ in "12"
    )
    arrivals._keep(header(), one)
    left = arrivals._left
    arrivals._keep(header(), other)
    assert arrivals._left == left and arrivals.known[False][header()] is one


@pytest.mark.parametrize("given", [-1, 1.5, True, "1", None])
def test_a_size_that_is_no_number_of_bytes_is_refused(given):
    with pytest.raises(ConfigurationError, match=r"signature_cache.*give a number of bytes, or 0 for none"):
        SyncMiddleware({"secret": SECRET, "signature_cache": given})
