"""Repeated headers on a real server that joins them by a comma, as most WSGI servers do: wsgiref's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from sojourn.transports import CookieTransport, HeaderTransport, Transport
from sojourn.wsgi import SessionMiddleware
from tests.core.making import SECRET


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    count = str(environ["sojourn.session"].increment("n")).encode()
    start_response("200 OK", [("Content-Length", str(len(count)))])
    return [count]


@pytest.fixture
def port() -> Iterator[int]:
    transports: list[Transport] = [CookieTransport(), HeaderTransport(), HeaderTransport(name="X-Other", bearer=True)]
    middleware = SessionMiddleware(app, secret=SECRET, store="memory://", transports=transports)
    with make_server("127.0.0.1", 0, middleware, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(10)


def visit(port: int, *headers: tuple[str, str]) -> tuple[int, str]:
    """How often the session was visited, and the cookie that was sent."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.putrequest("GET", "/")
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        return int(response.read()), (response.getheader("Set-Cookie") or "").partition(";")[0]


def test_a_session_is_found_wherever_its_cookie_stands_among_repeated_headers(port: int) -> None:
    count, cookie = visit(port)
    assert count == 1
    other = ("Cookie", "a=1")
    for expected, headers in enumerate(
        [
            [("Cookie", cookie)],
            [other, ("Cookie", cookie)],
            [("Cookie", cookie), other],
            [("Cookie", cookie), ("Cookie", cookie)],
            [other, ("Cookie", f"b=2; {cookie}; c=3"), other],
        ],
        2,
    ):
        assert visit(port, *headers) == (expected, "")


@pytest.mark.parametrize(("name", "scheme"), [("X-Session-Id", ""), ("Authorization", "Bearer ")])
def test_so_it_is_with_an_id_in_another_header(port: int, name: str, scheme: str) -> None:
    _, cookie = visit(port)
    token = cookie.removeprefix("sid=")
    for expected, values in enumerate([[token], ["junk", token], [token, "junk"], [token, token]], 2):
        assert visit(port, *((name, scheme + value) for value in values))[0] == expected
