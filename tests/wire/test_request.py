"""What requests bring: where there are sessions, over what connection, and under which ids."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from sojourn import logs
from sojourn.cookie import Cookie
from sojourn.errors import ConfigurationError
from sojourn.transports import CookieTransport, FormTransport, HeaderTransport, QueryTransport
from sojourn.wire.cookies import encode_value
from sojourn.wire.forms import without_field
from sojourn.wire.id_source import IdSource
from sojourn.wire.request import RequestParts, RequestReader
from sojourn.wire.signing import Signer, Verified
from tests.core.making import OLD_SECRET, SECRET, make_reader


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
        ("/a%20b", (), "/a%20b/x", True),
        ("/a%20b", (), "/a%20bc", False),
        ("/a", (), "/a%2Fb", False),
        ("/a", (), "/%61", False),
        # whoever could spell it in another way would have a session after all
        ("/", ("/é b",), "/%C3%A9%20b/x", False),
        ("/", ("/%c3%a9 b",), "/%C3%A9%20b/x", False),
        ("/", ("/static",), "/%73tatic/x", False),
        ("/", ("/static",), "/static%2Fx", False),
    ],
)
def test_where_there_are_sessions(cookie_path, exclude, path, has):
    reader = make_reader(cookie=Cookie(path=cookie_path), exclude=exclude)
    assert (reader.cookie_for({}, path) is not None) is has


# contract 140, 141
def test_a_cookie_function_sees_the_request_and_decides_the_path():
    seen = []

    def cookie(request: Any) -> Cookie:
        seen.append(request)
        return Cookie(path="/" + request["tenant"])

    reader = make_reader(cookie=cookie, exclude=["/a/static"])
    assert reader.cookie_for({"tenant": "a"}, "/a/x") == Cookie(path="/a")
    assert reader.cookie_for({"tenant": "b"}, "/a/x") is None
    assert reader.cookie_for({"tenant": "a"}, "/a/static") is None
    assert seen == [{"tenant": "a"}, {"tenant": "b"}]


@pytest.mark.parametrize("returned", [None, {"path": "/"}])
def test_a_cookie_function_must_return_a_cookie(returned):
    with pytest.raises(ConfigurationError) as caught:
        make_reader(cookie=lambda request: returned).cookie_for({}, "/")
    assert caught.value.option == "cookie"


def cookie_header(*values: str, name: str = "sid") -> bytes:
    return "; ".join(f"{name}={value}" for value in values).encode()


def signed(session_id: str, secret: bytes = SECRET) -> str:
    return encode_value(Signer([secret]).sign(session_id))


# contract 31, 34, 36
def test_every_rightly_signed_id_is_found_in_order_and_once():
    reader = make_reader(secret=[SECRET, OLD_SECRET])
    headers = [
        cookie_header("junk", signed("a"), signed("b", OLD_SECRET), signed("a")),
        b"other=1; " + cookie_header(signed("c", b"x" * 32)),
        cookie_header(f'"{signed("d")}"', ""),
    ]
    found = reader.ids(headers, Cookie(), secure=False)
    assert found == [
        Verified("a", needs_resigning=False),
        Verified("b", needs_resigning=True),
        Verified("d", needs_resigning=False),
    ]


FLOODS = [
    # how many values by each transport; how many ids of each count; whether a warning says that there were more
    ({"cookie": 9}, {"cookie": 9}, False),
    ({"cookie": 16}, {"cookie": 16}, False),
    ({"cookie": 17}, {"cookie": 16}, True),
    ({"cookie": 500}, {"cookie": 16}, True),
    ({"cookie": 12, "header": 4}, {"cookie": 12, "header": 4}, False),
    ({"cookie": 12, "header": 5}, {"cookie": 12, "header": 4}, True),
    ({"cookie": 16, "header": 1}, {"cookie": 16, "header": 0}, True),
    ({"cookie": 6, "header": 6, "query": 6}, {"cookie": 6, "header": 6, "query": 4}, True),
    ({"header": 1, "query": 100}, {"header": 1, "query": 15}, True),
    ({"query": 16}, {"query": 16}, False),
    ({"form": 16}, {"form": 16}, False),
    ({"form": 100}, {"form": 16}, True),
]
ALL_WAYS = [CookieTransport(), HeaderTransport(), QueryTransport(), FormTransport(max_bytes=100_000)]


def parts_of(values: dict[str, list[str]]) -> tuple[RequestParts, bytes]:
    """A request that carries such signed values, by transport, and its body."""
    headers = {
        "Cookie": [cookie_header(*values.get("cookie", []))],
        "X-Session-Id": [value.encode() for value in values.get("header", [])],
        "Content-Type": [b"application/x-www-form-urlencoded"] if "form" in values else [],
    }
    query, form = ("&".join(f"sid={value}" for value in values.get(name, [])).encode() for name in ("query", "form"))
    return RequestParts(lambda name: headers.get(name, []), query), form


def read(reader: RequestReader, parts: RequestParts, body: bytes = b"") -> tuple[list[Verified], IdSource]:
    """What a request brings; ``body`` is what it is given of it."""
    steps = reader.read(parts, Cookie(), secure=False)
    try:
        size = next(steps)
        steps.send(body[:size])
    except StopIteration as stop:
        ids, source = stop.value
        return ids, source
    raise AssertionError("a request's body is read once")


@pytest.mark.parametrize(("brought", "counts", "warns"), FLOODS)
def test_at_most_16_values_of_a_request_are_verified_over_all_transports(brought, counts, warns, caplog, monkeypatch):
    monkeypatch.setattr(logs, "_said", set())
    values = {way: [signed(f"{way}-{number}") for number in range(count)] for way, count in brought.items()}
    for _ in range(2):
        ids, source = read(make_reader(transports=ALL_WAYS), *parts_of(values))
        assert [verified.id for verified in ids] == [
            f"{way}-{number}" for way, count in counts.items() for number in range(count)
        ]
        assert set(source.by_id) == {verified.id for verified in ids}
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * warns
    assert "more than 16 session ids" in caplog.text or not warns


@pytest.mark.parametrize(("before", "found"), [(0, True), (14, True), (15, True), (16, False)])
def test_values_that_are_wrongly_signed_count_as_verified(before, found, monkeypatch):
    monkeypatch.setattr(logs, "_said", set())
    junk = [signed(str(number), b"x" * 32) for number in range(before)]
    header = cookie_header(*junk, signed("a"))
    assert bool(make_reader().ids([header], Cookie(), secure=False)) is found
    assert bool(read(make_reader(transports=ALL_WAYS), *parts_of({"cookie": [*junk, signed("a")]}))[0]) is found


# As cookie-parser does, which signs the application's other cookies by the same secret and in the same form.
@pytest.mark.parametrize("value", ["a\0b", "a\udc80b", "a" * 4097])
def test_a_signed_value_that_no_store_can_have_as_a_key_is_no_id(value):
    header = cookie_header(encode_value(Signer([SECRET]).sign(value)), signed("a"))
    ids = make_reader(hash_ids=False).ids([header], Cookie(), secure=False)
    assert [verified.id for verified in ids] == ["a"]
    ids = make_reader().ids([header], Cookie(), secure=False)
    assert [verified.id for verified in ids] == [value, "a"]


def test_the_limit_is_for_all_cookie_headers_together(caplog, monkeypatch):
    monkeypatch.setattr(logs, "_said", set())
    headers = [cookie_header(*(signed(f"{one}-{number}") for number in range(10))) for one in "ab"]
    ids = make_reader().ids(headers, Cookie(), secure=False)
    assert len(ids) == 16 and ids[-1].id == "b-5"
    assert len(caplog.records) == 1


@pytest.fixture
def checked(monkeypatch) -> list[bytes]:
    """What is signed to be compared: one HMAC each."""
    messages: list[bytes] = []
    sign = Signer._signature

    def counting(signer: Signer, key: Any, message: bytes) -> bytes:
        messages.append(message)
        return sign(signer, key, message)

    monkeypatch.setattr(Signer, "_signature", counting)
    return messages


def junk_of(size: int, *, of: str = "{}.") -> list[str]:
    """Values that look as if they were signed, each another, of so many bytes as cookies."""
    each = len("sid=; ") + len(of.format("00000") + 43 * "x")
    return [of.format(f"{number:05}") + 43 * "x" for number in range(size // each)]


KILOBYTES: Any = 1024
SECRETS: Any = [SECRET, OLD_SECRET, b"x" * 32]


@pytest.mark.parametrize(
    ("express_profile", "of", "readings"),
    [
        (False, "{}.", 1),
        (False, "%41{}.", 2),  # as it came, and decoded
        (True, "s:{}.", 1),
        (True, "s%3A{}.", 1),  # as it came it has no marker, and no signature is worked out
    ],
)
def test_junk_of_64_kilobytes_costs_16_hmacs_for_each_secret(express_profile, of, readings, checked):
    reader = make_reader(secret=SECRETS, express_profile=express_profile)
    junk = junk_of(64 * KILOBYTES, of=of)
    assert len(junk) > 1000
    header = cookie_header(*junk, name=reader.options.name)
    assert reader.ids([header], Cookie(), secure=False) == []
    assert len(checked) == 16 * readings * len(SECRETS)


@pytest.mark.parametrize("way", ["cookie", "header", "query", "form"])
def test_junk_by_any_transport_costs_no_more(way, checked):
    junk = {way: junk_of(64 * KILOBYTES)}
    assert read(make_reader(secret=SECRETS, transports=ALL_WAYS), *parts_of(junk))[0] == []
    assert len(checked) == 16 * len(SECRETS)


def test_junk_by_all_transports_at_once_costs_no_more(checked):
    junk = junk_of(64 * KILOBYTES)
    ways = {way: junk[number::4] for number, way in enumerate(("cookie", "header", "query", "form"))}
    assert read(make_reader(secret=SECRETS, transports=ALL_WAYS), *parts_of(ways))[0] == []
    assert len(checked) == 16 * len(SECRETS)


def test_a_value_that_comes_again_is_neither_verified_nor_counted_again(checked, caplog, monkeypatch):
    monkeypatch.setattr(logs, "_said", set())
    reader = make_reader(secret=SECRETS, transports=ALL_WAYS)
    (junk,) = junk_of(60)
    own = signed("a")
    checked.clear()
    ways = {"cookie": [junk] * 1000, "header": [junk] * 1000 + [own], "query": [own]}
    assert [verified.id for verified in read(reader, *parts_of(ways))[0]] == ["a"]
    assert checked == [b"00000"] * len(SECRETS) + [b"a"]
    assert not caplog.records


def test_an_id_that_came_in_two_spellings_is_one():
    header = cookie_header(signed("a"), f'"{signed("a")}"', signed("b"))
    assert [verified.id for verified in make_reader().ids([header], Cookie(), secure=False)] == ["a", "b"]


@pytest.mark.parametrize(
    ("brought", "is_told"),
    [
        ({"cookie": [signed("a", b"x" * 32)]}, True),
        ({"cookie": ["junk"], "header": [signed("a", b"x" * 32)]}, True),
        ({"query": [signed("a", b"x" * 32)] * 2}, True),
        ({"cookie": ["junk", "a.b", "." + 43 * "x", ""]}, False),
        ({"cookie": [signed("a", b"x" * 32), signed("b")]}, False),  # somebody plants cookies
        ({"cookie": [signed("a", b"x" * 32)], "header": [signed("b")]}, False),
        ({"cookie": [signed("b")]}, False),
        ({}, False),
    ],
)
def test_an_id_that_none_of_the_secrets_has_signed_is_told_once(brought, is_told, caplog, monkeypatch):
    monkeypatch.setattr(logs, "_said", set())
    for _ in range(2):
        read(make_reader(transports=ALL_WAYS), *parts_of(brought))
        if brought.keys() <= {"cookie"}:
            make_reader().ids([cookie_header(*brought.get("cookie", []))], Cookie(), secure=False)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * is_told
    assert "differ between processes or deployments" in caplog.text or not is_told


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
    reader = make_reader(cookie=(lambda request: config) if as_function else config)
    ids = reader.ids([cookie_header(signed("a"), name=name)], config, secure=secure)
    assert bool(ids) is found


def test_an_id_that_needs_percent_encoding_comes_back():
    reader = make_reader()
    for value in (signed("ü;€ %41"), Signer([SECRET]).sign("%41")):
        (found,) = reader.ids([cookie_header(value)], Cookie(), secure=False)
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
    assert make_reader(trust_proxy=trust).is_secure(https=https, forwarded=forwarded, direct=direct) is secure


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (b"a=1,sid=A", "a"),
        (b"sid=A,a=1", "a"),
        (b"sid=A, sid=B,c=d", "ab"),
        (b"sid=A; a=b,c; sid=B", "ab"),
        # within another's value: only what is rightly signed counts at all, and the visitor's own comes first
        (b"a=1,sid=B; sid=A", "ab"),
        (b'a="x,sid=junk"; sid=A', "a"),
        (b"a=1,xsid=A", ""),
    ],
)
def test_cookies_that_a_server_has_joined_by_a_comma_are_found_after_all_others(header, found):
    for name in "AB":
        header = header.replace(name.encode(), signed(name.lower()).encode())
    ids = make_reader().ids([header], Cookie(), secure=False)
    assert "".join(verified.id for verified in ids) == found


# -- by other transports than the cookie ------------------------------------------------------------------------------------------

COOKIE, HEADER, QUERY, FORM = CookieTransport(), HeaderTransport(), QueryTransport(), FormTransport()
BEARER = HeaderTransport(bearer=True)


def request(
    cookie: str = "", query: str = "", content_type: str = "application/x-www-form-urlencoded", **headers: str
) -> RequestParts:
    given = {name.replace("_", "-").lower(): value.encode() for name, value in headers.items()}
    given |= {"cookie": cookie.encode(), "content-type": content_type.encode()}
    return RequestParts(
        lambda name: [given[name.lower()]] if given.get(name.lower()) else [],
        query.replace("VALUE", signed("a")).encode(),
    )


@pytest.mark.parametrize(
    ("transport", "parts", "found"),
    [
        (HEADER, request(X_Session_Id=signed("a")), True),
        (HEADER, request(X_Session_Id=f" {signed('a')} "), True),
        (HEADER, request(X_Session_Id="junk"), False),
        # two of them, as WSGI servers join them
        (HEADER, request(X_Session_Id=f"junk,{signed('a')}"), True),
        (HEADER, request(X_Session_Id=f"{signed('a')}, {signed('a')}"), True),
        (BEARER, request(Authorization=f"Basic junk, Bearer {signed('a')}"), True),
        (BEARER, request(Authorization=f"Basic junk,Bearer {signed('a')}"), True),
        (BEARER, request(Authorization=f"Bearer {signed('a')}, Basic junk"), True),
        (HEADER, request(Authorization=f"Bearer {signed('a')}"), False),
        (HeaderTransport(name="X-Token"), request(X_Token=signed("a")), True),
        (BEARER, request(Authorization=f"Bearer {signed('a')}"), True),
        (BEARER, request(Authorization=f"bEARER  {signed('a')} "), True),
        (BEARER, request(Authorization=f"Basic {signed('a')}"), False),
        (BEARER, request(Authorization="Bearer"), False),
        (BEARER, request(X_Session_Id=signed("a")), False),
        (QUERY, request(query="sid=VALUE"), True),
        (QUERY, request(query="a=1&sid=VALUE&b=2"), True),
        (QUERY, request(query="a=1&%73id=VALUE"), True),
        (QUERY, request(query="sid=junk&sid=VALUE"), True),
        (QUERY, request(query="SID=VALUE"), False),
        (QUERY, request(query="sid"), False),
        (QUERY, request(query="xsid=VALUE"), False),
        (QueryTransport(name="ü"), request(query="%C3%BC=VALUE"), True),
    ],
)
def test_what_a_transport_carries_is_found(transport, parts, found):
    ids, source = read(make_reader(transports=[COOKIE, transport]), parts)
    assert ids == ([Verified("a", needs_resigning=False)] if found else [])
    assert source.by_id == ({"a": transport} if found else {})


BOUNDARY = "multipart/form-data; boundary=x"
FORMS = [
    # the content type, the body, whether the field is found
    ("application/x-www-form-urlencoded", "sid=VALUE", True),
    ("Application/X-WWW-Form-Urlencoded; charset=utf-8", "a=1&sid=VALUE&b=2", True),
    ("application/x-www-form-urlencoded", "a=1", False),
    ("application/json", "sid=VALUE", False),
    ("", "sid=VALUE", False),
    (BOUNDARY, '--x\r\nContent-Disposition: form-data; name="sid"\r\n\r\nVALUE\r\n--x--\r\n', True),
    (BOUNDARY, '--x\r\nContent-Disposition: form-data; name="sid"\r\n\r\nVALUE\r\n', True),
    (
        BOUNDARY,
        (
            '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
            "--x\r\ncontent-disposition: form-data; name=sid\r\n\r\nVALUE\r\n--x--"
        ),
        True,
    ),
    (BOUNDARY, '--x\r\nContent-Disposition: form-data; name="sid2"\r\n\r\nVALUE\r\n--x--', False),
    (BOUNDARY, "--x\r\nContent-Type: text/plain\r\n\r\nVALUE\r\n--x--", False),
    (BOUNDARY, "sid=VALUE", False),
    ("multipart/form-data", '--x\r\nContent-Disposition: form-data; name="sid"\r\n\r\nVALUE\r\n--x--', False),
    ("multipart/form-data; boundary=", '--\r\nContent-Disposition: form-data; name="sid"\r\n\r\nVALUE\r\n--', False),
    (
        BOUNDARY,
        '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 32
        + '--x\r\nContent-Disposition: form-data; name="sid"\r\n\r\nVALUE\r\n--x--',
        False,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("content_type", "body", "found"), FORMS)
def test_a_field_of_a_form_is_found(content_type, body, found):
    reader = make_reader(transports=[COOKIE, FORM])
    ids, _ = read(reader, request(content_type=content_type), body.replace("VALUE", signed("a")).encode())
    assert ids == ([Verified("a", needs_resigning=False)] if found else [])


@pytest.mark.parametrize(
    ("transports", "cookie", "asks"),
    [
        ([FORM], "", True),
        ([COOKIE, FORM], "", True),
        ([COOKIE, FORM], "sid=junk", True),
        ([COOKIE, FORM], "sid=" + signed("c"), False),
        ([FORM, COOKIE], "sid=" + signed("c"), True),
    ],
)
def test_a_form_is_looked_at_only_where_nothing_before_it_brought_an_id(transports, cookie, asks):
    steps = make_reader(transports=transports).read(request(cookie), Cookie(), secure=False)
    if asks:
        assert next(steps) == FORM.max_bytes
    else:
        with pytest.raises(StopIteration):
            next(steps)


def test_an_empty_form_carries_nothing():
    assert read(make_reader(transports=[FORM]), request(), b"")[0] == []


@pytest.mark.parametrize(
    ("transports", "order"),
    [
        ([COOKIE, HEADER, QUERY], "chq"),
        ([QUERY, HEADER, COOKIE], "qhc"),
        ([HEADER, COOKIE], "hc"),
        ([HEADER], "h"),
    ],
)
def test_ids_come_in_the_order_of_the_transports(transports, order):
    parts = request(f"sid={signed('c')}", f"sid={signed('q')}", X_Session_Id=signed("h"))
    ids, source = read(make_reader(transports=transports), parts)
    assert "".join(verified.id for verified in ids) == order
    assert list(source.by_id) == list(order)


def test_an_id_that_came_twice_counts_by_the_first_transport():
    parts = request(f"sid={signed('a')}", f"sid={signed('a')}", X_Session_Id=signed("a"))
    ids, source = read(make_reader(transports=[HEADER, QUERY, COOKIE]), parts)
    assert len(ids) == 1 and source.by_id == {"a": HEADER}


@pytest.mark.parametrize(
    ("transports", "parts", "usual"),
    [
        ([COOKIE, HEADER], request(), COOKIE),
        ([HEADER, COOKIE], request(), HEADER),
        ([QUERY, HEADER, COOKIE], request(), HEADER),
        # the first that the request made use of, rightly signed or not
        ([COOKIE, HEADER], request(X_Session_Id="junk"), HEADER),
        ([HEADER, COOKIE], request("sid=junk"), COOKIE),
        ([COOKIE, HEADER], request("sid=junk", X_Session_Id="junk"), COOKIE),
        ([COOKIE, BEARER], request(Authorization="Bearer junk"), BEARER),
        # never one that is only read
        ([QUERY, COOKIE], request(query="sid=junk"), COOKIE),
        ([QUERY], request(query="sid=junk"), None),
        ([FORM, QUERY], request(content_type="text/plain"), None),
    ],
)
def test_a_new_id_goes_by_the_first_transport_that_the_request_made_use_of(transports, parts, usual):
    assert read(make_reader(transports=transports), parts)[1].usual == usual


@pytest.mark.parametrize(
    ("transports", "vary", "parameters"),
    [
        ([COOKIE], ("Cookie",), []),
        ([COOKIE, HEADER], ("Cookie", "X-Session-Id"), []),
        ([BEARER, COOKIE], ("Authorization", "Cookie"), []),
        ([QUERY, FORM, QueryTransport(name="s")], (), ["sid", "s"]),
    ],
)
def test_a_reader_knows_what_responses_vary_with_and_which_parameters_go_no_further(transports, vary, parameters):
    reader = make_reader(transports=transports)
    assert (reader.vary, reader.parameters) == (vary, parameters)
    assert reader.by_cookie is (transports == [COOKIE])


@pytest.mark.parametrize(
    ("query", "left"),
    [
        (b"", b""),
        (b"sid=1", b""),
        (b"a=1&sid=2&b=3", b"a=1&b=3"),
        (b"sid=1&sid=2&a=%20+", b"a=%20+"),
        (b"s%69d=1&SID=2", b"SID=2"),
        (b"sid&a&&b", b"a&&b"),
        (b"a=sid", b"a=sid"),
    ],
)
def test_a_query_without_a_parameter_is_else_as_it_was(query, left):
    assert without_field(query, "sid") == left


@pytest.mark.parametrize(
    ("options", "everywhere"),
    [
        ({}, True),
        ({"cookie": Cookie(path="/app")}, False),
        ({"exclude": ["/static"]}, False),
        ({"cookie": lambda request: Cookie()}, False),
    ],
)
def test_where_no_request_decides_the_cookie_is_known_beforehand(options, everywhere):
    assert (make_reader(**options).cookie_everywhere is not None) is everywhere
