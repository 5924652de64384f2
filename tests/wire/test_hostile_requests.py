"""Whatever comes by whatever transport: only what was rightly signed is an id, nothing is an error, and it takes no longer than it is long."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from random import Random
from typing import Final

import pytest

from sojourn.cookie import Cookie
from sojourn.transports import CookieTransport, FormTransport, HeaderTransport, QueryTransport, Transport
from sojourn.wire.request import RequestParts, RequestReader
from sojourn.wire.signing import Signer
from tests.core.making import SECRET, make_reader
from tests.foreign import AMOUNTS

_ROUND: Final = 600
WAYS: Final[tuple[Transport, ...]] = (
    CookieTransport(),
    HeaderTransport(),
    HeaderTransport(name="X-Token", bearer=True),
    QueryTransport(),
    FormTransport(max_bytes=100_000),
)
URLENCODED: Final = b"application/x-www-form-urlencoded"
MULTIPART: Final = b"multipart/form-data; boundary=XyZ"

OURS: Final = {name: Signer([SECRET]).sign(name).encode() for name in ("a", "b-c", "d.e")}
"""What we signed."""
_FORGED: Final = (
    Signer([b"somebody else's secret, as long as it has to be"]).sign("mallory").encode(),
    Signer([SECRET], "express").sign("of-another-format").encode(),
    OURS["a"].replace(b"a.", b"x."),
    OURS["a"][:-1],
    OURS["a"].upper(),
    b"unsigned",
    b"." * 44,
    b"a." + b"=" * 43,
)
_PIECES: Final = (
    *(
        b"sid=",
        b"=",
        b";",
        b"; ",
        b"&",
        b",",
        b" ",
        b"\t",
        b"+",
        b"%",
        b"%2E",
        b"%00",
        b'"',
        b"\\",
        b"\x00",
        b"\xff",
        b"\r\n",
    ),
    *(
        b"\r\n\r\n",
        b"\r",
        b"\n",
        b":",
        b"*",
        b"Bearer ",
        b"--XyZ",
        b"\r\n--XyZ\r\n",
        b"\r\n--XyZ--",
        b'name="sid"',
        b"name*=a",
        b"name*0=b",
    ),
    *(
        b'Content-Disposition: form-data; name="sid"\r\n\r\n',
        b"content-disposition:",
        b'; filename="x"',
        b"charset=",
        b"utf-8''%ff",
    ),
)
_TYPES: Final = (
    *(
        URLENCODED,
        MULTIPART,
        MULTIPART,
        MULTIPART,
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b"multipart/mixed",
    ),
    *(
        b"multipart/form-data; boundary*=a; boundary*0=b",
        b'multipart/form-data; boundary="XyZ"',
        b"multipart/form-data;boundary=XyZ\xff",
    ),
    *(
        b"multipart/form-data; boundary*" + b"9" * 400 + b"=b",
        b"Multipart/Form-Data; x=" + b'";' * 50 + b"; boundary=XyZ",
        b"",
    ),
    *(
        b"multipart/form-data; boundary*=utf-8''%ff",
        b"multipart/form-data; boundary=\r\n",
        b"multipart/form-data; " + b";" * 300,
    ),
    b"multipart/form-data; boundary=" + b"x" * 300,
)


_BEGINNINGS: Final = (b"", b"sid=", b"Bearer ", b'--XyZ\r\nContent-Disposition: form-data; name="sid"\r\n\r\n')
_ENDS: Final = (b"", b";", b"&", b"\r\n--XyZ--", b"\r\n")


def text(random: Random) -> bytes:
    """Little but what matters to a parser, so that its pieces meet; and now and then something well-formed before it."""
    begin = b""
    if random.random() < 0.3:
        begin = random.choice(_BEGINNINGS) + random.choice(tuple(OURS.values())) + random.choice(_ENDS)
    sources = (_PIECES, _PIECES, tuple(OURS.values()), _FORGED)
    return begin + b"".join(random.choice(random.choice(sources)) for _ in range(random.randrange(12)))


def read(reader: RequestReader, headers: dict[str, list[bytes]], query: bytes, body: bytes) -> list[str]:
    parts = RequestParts(lambda name: headers.get(name, []), query)
    ids, source = reader.read_all(parts, Cookie(), body, secure=False)
    assert source is None or set(source.by_id) == {verified.id for verified in ids}
    return [verified.id for verified in ids]


@pytest.mark.parametrize("amount", AMOUNTS)
@pytest.mark.parametrize("way", [*WAYS, None], ids=lambda way: "all" if way is None else type(way).__name__)
def test_only_what_was_rightly_signed_is_an_id_and_nothing_is_an_error(
    way: Transport | None, amount: int, caplog: pytest.LogCaptureFixture
) -> None:
    reader = make_reader(transports=list(WAYS) if way is None else [way])
    found: set[str] = set()
    for seed in range(_ROUND * amount):
        random = Random(seed)
        headers = {name: [text(random)] for name in ("Cookie", "X-Session-Id", "Authorization", "X-Token")}
        headers["Content-Type"] = [random.choice(_TYPES) + random.choice((b"", b"", text(random)))]
        query, body = text(random), text(random)
        try:
            ids = read(reader, headers, query, body)
        except Exception as error:
            error.add_note(f"seed {seed}: {headers!r} {query!r} {body!r}")
            raise
        sent = query + body + b"".join(value for values in headers.values() for value in values)
        assert all(name in OURS and OURS[name] in sent for name in ids), (seed, ids)
        found.update(ids)
    assert found, "what is signed is found where it is well-formed"
    told = {record.getMessage().partition(":")[0] for record in caplog.records}
    assert told <= {"a request brought a session id that none of the secrets has signed"}


def form(content_type: bytes) -> Callable[[bytes], tuple[dict[str, list[bytes]], bytes]]:
    return lambda body: ({"Content-Type": [content_type]}, body)


GROWING: Final[dict[str, Callable[[bytes], tuple[dict[str, list[bytes]], bytes]]]] = {
    "Cookie": lambda value: ({"Cookie": [b"sid=" + value]}, b""),
    "header": lambda value: ({"X-Session-Id": [value]}, b""),
    "bearer": lambda value: ({"Authorization": [b"Bearer " + value]}, b""),
    "content type": lambda value: ({"Content-Type": [b'multipart/form-data; boundary=XyZ; x="' + value]}, b"--XyZ\r\n"),
    "urlencoded": form(URLENCODED),
    "multipart": form(MULTIPART),
    "a part's header": lambda value: (
        {"Content-Type": [MULTIPART]},
        b'--XyZ\r\nContent-Disposition: form-data; name="' + value,
    ),
    "a part": lambda value: (
        {"Content-Type": [MULTIPART]},
        b'--XyZ\r\nContent-Disposition: form-data; name="sid"\r\n\r\n' + value,
    ),
}


@pytest.mark.parametrize("where", GROWING)
@pytest.mark.parametrize(
    "piece",
    [b";", b'"', b"\\", b'\\";', b"=", b"&", b"sid=&", b"%", b" ", b"\r\n", b"\r\n--XyZ", b"\r\n--XyZ\r\n", b"\r\n--Xy", b"--XyZ", b"a:b\r\n", b"."],
)  # fmt: skip
def test_the_work_grows_with_what_is_sent_and_no_faster(where: str, piece: bytes) -> None:
    reader = make_reader(transports=list(WAYS))

    def cost(size: int) -> int:
        headers, body = GROWING[where]((piece * size)[:size])
        best = sys.maxsize
        for _ in range(3):
            began = time.thread_time_ns()
            read(reader, headers, b"", body)
            best = min(best, time.thread_time_ns() - began)
        return best

    # Sixteen times as much: about 16 if the work is linear, 256 if it is quadratic.
    assert cost(65_536) < 80 * max(cost(4_096), 50_000)


def test_a_query_grows_no_faster_either() -> None:
    reader = make_reader(transports=list(WAYS))
    for piece in (b"&", b"sid=", b"sid=&", b"%", b"+"):
        costs = []
        for size in (4_096, 65_536):
            began = time.thread_time_ns()
            read(reader, {}, (piece * size)[:size], b"")
            costs.append(time.thread_time_ns() - began)
        assert costs[1] < 80 * max(costs[0], 50_000)
