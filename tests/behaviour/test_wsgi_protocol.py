"""What PEP 3333 asks of a middleware: ``write()``, ``exc_info``, ``close()``, ``wsgi.file_wrapper``, empty chunks, generators that raise."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.handlers import SimpleHandler
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest

from sojourn import SessionEncodeError, StoreUnavailable
from sojourn.testing import ManualClock
from sojourn.transports import CookieTransport, FormTransport
from sojourn.wsgi import SessionMiddleware
from tests.behaviour.harness import COUNTING, SECRET, sign

PLAIN = [("Content-Type", "text/plain")]


class Server:
    """wsgiref's own server, without sockets: what it sends, and in what order with the store's operations."""

    def __init__(self, app: Any, *, strict: bool = True, **options: Any) -> None:
        self.events: list[str] = []
        self.store = COUNTING(ManualClock(), self.events)
        middleware = SessionMiddleware(validator(app) if strict else app, secret=SECRET, store=self.store, **options)
        self.app: Any = validator(middleware) if strict else middleware

    def get(self, **environ: Any) -> str:
        setup_testing_defaults(environ)
        environ.setdefault("QUERY_STRING", "")
        sent = _Sent(self.events)
        handler = SimpleHandler(io.BytesIO(), sent, io.StringIO(), environ, multithread=False, multiprocess=False)
        handler.http_version = "1.1"
        errors: list[Any] = []
        handler.log_exception = errors.append  # type: ignore[assignment, method-assign]
        handler.run(self.app)
        self.errors = [error[1] for error in errors]
        return sent.getvalue().decode("latin-1")

    def plant(self) -> dict[str, str]:
        """A session's Cookie header."""
        import hashlib

        data = b'{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},"n":1}'
        self.store.kept.create(hashlib.sha256(b"planted").hexdigest(), data, 86_400_000)
        return {"HTTP_COOKIE": f"sid={sign('planted', 'native')}"}

    @property
    def data(self) -> list[bytes]:
        return [found.data for _, found in self.store.kept.scan()]


class _Sent(io.BytesIO):
    def __init__(self, events: list[str]) -> None:
        super().__init__()
        self._events = events

    def write(self, data: Any) -> int:
        if data and (not self._events or self._events[-1] != "sent"):
            self._events.append("sent")
        return super().write(data)


def session(environ: Any) -> Any:
    return environ["sojourn.session"]


def fail() -> None:
    raise ValueError("of the app")


def answering(body: Callable[[Any, Any], Iterable[bytes]]) -> Any:
    """An app whose body is made once it has started its response."""

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))
        return body(environ, start_response)

    return app


def test_a_list_is_answered_whole() -> None:
    def body(environ: Any, _start: Any) -> list[bytes]:
        session(environ)["n"] = 1
        return [b"a", b"b"]

    server = Server(answering(body))
    text = server.get()
    assert text.startswith("HTTP/1.1 200 OK") and text.endswith("\r\n\r\nab") and "Set-Cookie: sid=" in text
    assert server.events == ["create", "sent"]


def test_a_generator_runs_to_its_first_chunk_before_the_commit() -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        session(environ)["n"] = 1
        start_response("201 Created", list(PLAIN))
        session(environ)["m"] = 2
        yield b"a"
        session(environ)["late"] = 3
        yield b"b"

    server = Server(app)
    text = server.get()
    assert text.startswith("HTTP/1.1 201 Created") and text.endswith("ab")
    assert server.events == ["create", "sent", "replace"]
    assert b'"n":1,"m":2,"late":3' in server.data[0]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("leading", [1, 3])
def test_leading_empty_chunks_do_not_leave_before_start_response(leading: int, *, strict: bool) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", list(PLAIN))
        for _ in range(leading):
            yield b""
        session(environ)["n"] = 1
        yield b"a"

    server = Server(app, strict=strict)
    text = server.get()
    assert server.errors == [] and text.endswith("\r\n\r\na") and "Set-Cookie" in text
    assert server.events == ["create", "sent"]


def test_empty_chunks_do_not_commit_and_later_ones_pass() -> None:
    def body(environ: Any, _start: Any) -> Iterator[bytes]:
        session(environ)["n"] = 1
        yield b"a"
        yield b""
        yield b"b"

    server = Server(answering(body))
    assert server.get().endswith("ab") and server.events[0] == "create"


@pytest.mark.parametrize("chunks", [[], [b""], [b"", b""]])
def test_a_body_of_nothing_commits_when_it_is_exhausted(chunks: list[bytes]) -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        session(environ)["n"] = 1
        start_response("303 See Other", [*PLAIN, ("Location", "/"), ("Content-Length", "0")])
        return chunks

    server = Server(app, strict=bool(not chunks))
    text = server.get()
    assert server.errors == []
    assert text.startswith("HTTP/1.1 303") and "Set-Cookie" in text
    assert server.events == ["create", "sent"]


def test_write_commits_before_its_bytes_leave() -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        write = start_response("200 OK", list(PLAIN))
        write(b"")
        session(environ)["n"] = 1
        write(b"written ")
        session(environ)["n"] = 2
        write(b"twice ")
        return [b"and returned"]

    server = Server(app)
    text = server.get()
    assert text.endswith("written twice and returned") and "Set-Cookie" in text
    assert server.events == ["create", "sent", "replace"]


def test_write_after_a_failed_commit_sends_nothing_of_the_app() -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        write = start_response("200 OK", list(PLAIN))
        session(environ)["n"] = 1
        write(b"written ")
        write(b"twice ")
        return [b"returned"]

    server = Server(app)
    server.store.fail("create")
    text = server.get()
    assert server.errors == [] and text.startswith("HTTP/1.1 503 Service Unavailable")
    assert "written" not in text and "returned" not in text and text.count("Service unavailable") == 2
    assert server.data == []


def test_exc_info_replaces_headers_that_have_not_left() -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        session(environ)["n"] = 1
        start_response("200 OK", [*PLAIN, ("X-First", "1")])
        try:
            fail()
        except ValueError:
            start_response("500 Oh", [*PLAIN, ("X-Second", "1")], sys.exc_info())
        return [b"error page"]

    server = Server(app)
    text = server.get()
    assert text.startswith("HTTP/1.1 500 Oh") and "X-Second" in text and "X-First" not in text
    assert "Set-Cookie" in text and server.events == ["create", "sent"]


def test_exc_info_does_not_replace_the_503() -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        session(environ)["n"] = 1
        start_response("200 OK", list(PLAIN))(b"written")
        try:
            fail()
        except ValueError:
            start_response("500 Oh", [*PLAIN, ("X-Second", "1")], sys.exc_info())
        return [b"error page"]

    server = Server(app)
    server.store.fail("create")
    text = server.get()
    assert text.startswith("HTTP/1.1 503 Service Unavailable") and "X-Second" not in text and "error page" not in text
    assert text.count("Service unavailable") == 2 and server.errors == []


def test_exc_info_after_the_headers_have_left_raises_the_apps_error() -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        session(environ)["n"] = 1
        start_response("200 OK", list(PLAIN))
        yield b"a"
        try:
            fail()
        except ValueError:
            start_response("500 Oh", list(PLAIN), sys.exc_info())
        yield b"never"

    server = Server(app)
    text = server.get()
    assert text.startswith("HTTP/1.1 200") and "never" not in text
    assert [str(error) for error in server.errors] == ["of the app"]


def test_exc_info_goes_to_a_server_that_has_sent_nothing_yet() -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        session(environ)["n"] = 1
        start_response("200 OK", list(PLAIN))
        yield b"a"
        try:
            fail()
        except ValueError:
            start_response("500 Oh", list(PLAIN), sys.exc_info())
        yield b"error page"

    begun: list[str] = []

    def start_response(status: str, _headers: object, _exc_info: object = None) -> Callable[[bytes], object]:
        begun.append(status)
        return begun.append  # type: ignore[return-value]

    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    body = Server(app, strict=False).app(environ, start_response)
    assert list(body) == [b"a", b"error page"]
    assert begun == ["200 OK", "500 Oh"]


@pytest.mark.parametrize("body", [[b"a", b"b"], (b"a",), []])
def test_a_body_that_is_there_is_committed_in_the_call(body: Any) -> None:
    """Granian reads status and headers when the call returns."""

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        session(environ)["n"] = 1
        start_response("200 OK", list(PLAIN))
        return body  # type: ignore[no-any-return]

    begun: list[Any] = []

    def start_response(*given: Any) -> Callable[[bytes], object]:
        begun.append(given)
        return print

    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    server = Server(app, strict=False)
    assert server.app(environ, start_response) is body
    [(status, headers)] = begun
    assert status == "200 OK" and "Set-Cookie" in dict(headers)
    assert len(server.data) == 1


def test_a_generator_is_committed_in_the_call_by_its_first_chunk() -> None:
    drawn: list[str] = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", list(PLAIN))
        yield b""
        session(environ)["n"] = 1
        drawn.append("a")
        yield b"a"
        drawn.append("b")
        yield b"b"

    begun: list[Any] = []

    def start_response(*given: Any) -> Callable[[bytes], object]:
        begun.append(given)
        return print

    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    server = Server(app, strict=False)
    body = server.app(environ, start_response)
    [(_, headers)] = begun
    assert drawn == ["a"] and "Set-Cookie" in dict(headers)
    assert list(body) == [b"a", b"b"]


def test_a_generator_that_raises_in_the_call_is_closed() -> None:
    events: list[str] = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            fail()
            yield b"never"

        def close(self) -> None:
            events.append("closed")

    def app(environ: Any, start_response: Any) -> Any:
        session(environ)["n"] = 1
        start_response("200 OK", list(PLAIN))
        return Body()

    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    server = Server(app, strict=False)
    with pytest.raises(ValueError, match="of the app"):
        server.app(environ, lambda *_: events.append)
    assert events == ["closed"] and server.data == []


def test_a_value_that_cannot_be_stored_is_told_by_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        session(environ)["secret name"] = object()
        start_response("200 OK", list(PLAIN))
        return [b"never"]

    server = Server(app, strict=False)
    assert server.get().startswith("HTTP/1.1 500")
    assert isinstance(server.errors[0], SessionEncodeError)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "sojourn"]
    assert line.startswith(
        "a value in the session cannot be stored, and the response is an error: a object has no form"
    )
    assert "secret name" not in line


def test_a_file_is_closed_where_the_commit_raises() -> None:
    opened: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        session(environ)["x"] = object()
        start_response("200 OK", list(PLAIN))
        opened.append(io.BytesIO(b"file"))
        return environ["wsgi.file_wrapper"](opened[0])

    environ: dict[str, Any] = {"wsgi.file_wrapper": FileWrapper}
    setup_testing_defaults(environ)
    with pytest.raises(SessionEncodeError):
        Server(app, strict=False).app(environ, lambda *_: print)
    assert opened[0].closed


def test_a_length_that_no_body_has_is_none() -> None:
    server = Server(
        lambda _environ, start: (start("200 OK", list(PLAIN)) and []) or [b"ok"],
        strict=False,
        transports=[CookieTransport(), FormTransport(name="sid")],
    )
    form = {"CONTENT_TYPE": "application/x-www-form-urlencoded", "CONTENT_LENGTH": "9" * 5000}
    assert server.get(**form).startswith("HTTP/1.1 200")


def test_a_body_that_is_there_gives_way_to_the_503() -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        session(environ)["n"] = 1
        start_response("200 OK", list(PLAIN))
        return [b"never"]

    server = Server(app, strict=False)
    server.store.fail("create")
    text = server.get()
    assert text.startswith("HTTP/1.1 503") and "Service unavailable" in text and "never" not in text


def test_a_second_start_response_without_exc_info_is_refused() -> None:
    def app(_environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))
        start_response("200 OK", list(PLAIN))
        return [b"never"]

    server = Server(app)
    server.get()
    assert isinstance(server.errors[0], AssertionError)


@pytest.mark.parametrize("body", [[b"a"], []])
def test_a_body_before_start_response_is_refused(body: list[bytes]) -> None:
    server = Server(lambda _environ, _start: body, strict=False)
    server.get()
    assert isinstance(server.errors[0], AssertionError)


def test_start_response_may_be_called_in_the_first_iteration() -> None:
    class Body:
        def __init__(self, environ: Any, start_response: Any) -> None:
            self.environ, self.start = environ, start_response

        def __iter__(self) -> Iterator[bytes]:
            session(self.environ)["n"] = 1
            self.start("200 OK", list(PLAIN))
            yield b"a"

    server = Server(Body)
    assert server.get().endswith("\r\n\r\na") and server.events == ["create", "sent"]


class Closing:
    def __init__(self, chunks: Iterable[bytes], *, error: Exception | None = None, late: Any = None) -> None:
        self.chunks = iter(chunks)
        self.closed = 0
        self.error = error
        self.late = late

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks

    def close(self) -> None:
        self.closed += 1
        if self.late is not None:
            self.late()
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("fails", [False, True])
def test_the_apps_close_is_called_once_also_where_the_response_became_a_503(*, fails: bool) -> None:
    body = Closing([b"a", b"b"])

    def make(environ: Any, _start: Any) -> Closing:
        session(environ)["n"] = 1
        return body

    server = Server(answering(make))
    if fails:
        server.store.fail("create")
    server.get()
    assert body.closed == 1


def test_what_the_apps_close_changes_is_saved_late() -> None:
    held: list[Any] = []
    body = Closing([b"a"], late=lambda: held[0].update(n=5))

    def make(environ: Any, _start: Any) -> Closing:
        held.append(session(environ))
        dict(held[0])
        return body

    server = Server(answering(make))
    cookie = server.plant()
    server.get(**cookie)
    assert server.events == ["load", "sent", "replace"] and b'"n":5' in server.data[0]


def test_what_a_body_changes_is_saved_before_the_server_knows_that_it_is_at_its_end() -> None:
    def make(environ: Any, _start: Any) -> Iterator[bytes]:
        yield b"a"
        session(environ)["n"] = 5

    server = Server(answering(make), strict=False)
    environ: dict[str, Any] = server.plant()
    setup_testing_defaults(environ)
    body = server.app(environ, lambda *_args: None)
    assert list(body) == [b"a"]
    assert server.events == ["load", "replace"]
    body.close()
    assert server.events == ["load", "replace"] and b'"n":5' in server.data[0]


def test_a_close_that_raises_is_the_apps_error_and_the_response_stays_saved() -> None:
    def make(environ: Any, _start: Any) -> Closing:
        session(environ)["n"] = 2
        return Closing([b"a"], error=ValueError("close"))

    server = Server(answering(make), strict=False)
    environ: dict[str, Any] = server.plant()
    setup_testing_defaults(environ)
    body = server.app(environ, lambda *_args: None)
    assert list(body) == [b"a"]
    with pytest.raises(ValueError, match="close"):
        body.close()
    assert server.events == ["load", "replace"]


def raising(chunks: list[bytes], act: Callable[[Any], object]) -> Any:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", list(PLAIN))
        act(session(environ))
        yield from chunks
        raise ValueError("of the app")

    return app


@pytest.mark.parametrize("chunks", [[], [b""], [b"", b""]])
@pytest.mark.parametrize(
    ("act", "events"), [(lambda s: s.update(n=2), ["load"]), (lambda s: s.destroy(), ["load", "delete"])]
)
def test_a_generator_that_raises_before_its_first_chunk_saves_nothing_but_a_destroy(
    chunks: list[bytes], act: Any, events: list[str]
) -> None:
    server = Server(raising(chunks, act), strict=False)
    server.get(**server.plant())
    assert [str(error) for error in server.errors] == ["of the app"]
    assert [event for event in server.events if event != "sent"] == events


def test_a_generator_that_raises_after_its_first_chunk_has_saved_what_was_before() -> None:
    server = Server(raising([b"a"], lambda s: s.update(n=2)))
    server.get(**server.plant())
    assert [str(error) for error in server.errors] == ["of the app"]
    assert server.events == ["load", "replace", "sent"]


def test_a_generator_that_the_server_abandons_has_saved_what_was_before_its_first_chunk() -> None:
    def body(environ: Any, _start: Any) -> Iterator[bytes]:
        session(environ)["n"] = 2
        yield b"a"

    server = Server(answering(body), strict=False)
    environ: dict[str, Any] = server.plant()
    setup_testing_defaults(environ)
    started: list[Any] = []
    answer = server.app(environ, lambda *args: started.append(args))
    answer.close()  # the client has gone before the server asked for a chunk
    assert server.events == ["load", "replace"] and len(started) == 1


@pytest.mark.parametrize("act", [lambda s: s.update(n=2), lambda s: s.destroy(), lambda s: None])
def test_a_file_is_handed_to_the_server_as_it_is(act: Any) -> None:
    handed: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [*PLAIN, ("Content-Length", "4")])
        act(session(environ))
        handed.append(environ["wsgi.file_wrapper"](io.BytesIO(b"file")))
        return handed[0]

    server = Server(app, strict=False)
    environ: dict[str, Any] = {**server.plant(), "wsgi.file_wrapper": FileWrapper}
    setup_testing_defaults(environ)
    started: list[Any] = []
    answer = server.app(environ, lambda *args: started.append(args))
    assert answer is handed[0], "so that the server may send it by itself"
    assert len(started) == 1 and b"".join(answer) == b"file"
    answer.close()
    assert [event for event in server.events if event not in ("load", "sent")] in (["replace"], ["delete"], [])


def test_a_file_whose_commit_fails_is_a_503() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [*PLAIN, ("Content-Length", "4")])
        session(environ)["n"] = 2
        return environ["wsgi.file_wrapper"](io.BytesIO(b"file"))

    server = Server(app, strict=False)
    cookie = server.plant()
    server.store.fail("replace")
    text = server.get(**cookie)
    assert text.startswith("HTTP/1.1 503") and "file" not in text.rpartition("\r\n\r\n")[2]


def test_the_status_line_and_the_headers_are_the_apps() -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        dict(session(environ))
        headers = [("Content-Type", "text/plain"), ("X-Twice", "1"), ("X-Twice", "2")]
        start_response("418 I'm a teapot", headers)
        headers.append(("X-After", "no"))
        return [b"short and stout"]

    text = Server(app).get()
    assert text.startswith("HTTP/1.1 418 I'm a teapot") and text.count("X-Twice") == 2 and "X-After" not in text


def test_an_unavailable_store_at_load_is_answered_without_the_app() -> None:
    def app(_environ: Any, _start: Any) -> Iterable[bytes]:
        raise AssertionError("called")

    server = Server(app)
    cookie = server.plant()
    server.store.fail("load", error=StoreUnavailable("down"))
    text = server.get(**cookie)
    assert text.startswith("HTTP/1.1 503 Service Unavailable") and server.errors == []


@pytest.mark.parametrize("header", ["sid=\u2603", "sid=\ud800", "\xff\xfe"])
def test_a_cookie_header_beyond_latin_1_is_no_error(header: str) -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))
        return [repr(dict(session(environ))).encode()]

    assert Server(app, strict=False).get(HTTP_COOKIE=header).endswith("{}")


def test_an_environ_without_the_optional_keys_is_served() -> None:
    store = COUNTING(ManualClock(), [])
    app: Any = SessionMiddleware(
        answering(lambda environ, _start: [session(environ).id.encode()]), secret=SECRET, store=store
    )
    started: list[Any] = []
    body = app({"REQUEST_METHOD": "GET", "wsgi.url_scheme": "http"}, lambda *args: started.append(args))
    assert len(b"".join(body)) == 43 and len(started) == 1
