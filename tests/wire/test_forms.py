"""One field of a posted form; see also tests/wire/test_request.py."""

from __future__ import annotations

import sys

import pytest

from sojourn import asgi, wsgi
from sojourn.transports import CookieTransport, FormTransport
from sojourn.wire.forms import FormReader
from tests.core.making import SECRET

MULTIPART = b"multipart/form-data; boundary=XyZ"
OURS = b'Content-Disposition: form-data; name="sid"\r\n\r\n'


def part(head: bytes, value: bytes) -> bytes:
    return b"--XyZ\r\n%b\r\n\r\n%b\r\n" % (head, value)


def field(name: bytes, value: bytes) -> bytes:
    return part(b'Content-Disposition: form-data; name="%b"' % name, value)


@pytest.mark.parametrize(
    ("body", "values"),
    [
        (field(b"sid", b"1") + field(b"a", b"2") + field(b"sid", b"3") + b"--XyZ--", [b"1", b"3"]),
        (b"before\r\n" + field(b"sid", b"1") + b"--XyZ--\r\nafter", [b"1"]),
        (field(b"sid", b""), [b""]),
        (field(b"sid", b"a\r\n--Xy\r\nb") + b"--XyZ--", [b"a\r\n--Xy\r\nb"]),
        (field(b"sid", b"12345")[:-4], [b"123"]),  # cut off: its signature will be wrong
        (field(b"sid", b"1") + b"--XyZ\r\nbad header\r\n\r\n", [b"1"]),
        (field(b"sid", b"1") + field(b"\xff", b"2"), [b"1"]),
        (part(b'CONTENT-DISPOSITION:form-data;name="sid"', b"1"), [b"1"]),
        (part(b"Content-Disposition: form-data; name=sid", b"1"), [b"1"]),
        (part(b'Content-Disposition: form-data; name*=sid; name="a"', b"1"), []),
        (part(b'Content-Type: a\r\nContent-Disposition: form-data; name="sid"\r\nX: y', b"1"), [b"1"]),
        (part(b'Content-Disposition: form-data; name="sid"\r\n' * 2 + b"X: y", b"1"), [b"1"]),
        (part(b'Content-Disposition: form-data; x="' + b"y" * 5000 + b'"; name="sid"', b"1"), []),
        (field(b"a", b"1") * 31 + field(b"sid", b"1"), [b"1"]),
        (field(b"a", b"1") * 32 + field(b"sid", b"1"), []),
        (b"--XyZ", []),
        (b"--XyZ--", []),
        (b"nothing", []),
        (b"", []),
    ],
)
def test_the_values_of_a_field_of_a_multipart_form_are_found_up_to_what_is_malformed(body, values):
    assert FormReader("sid").values(MULTIPART, body) == values


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (b'multipart/form-data; boundary="a b"', b"a b"),
        (b"Multipart/Form-Data;BOUNDARY=x;charset=utf-8", b"x"),
        (b"multipart/form-data; boundary=" + b"x" * 256, b"x" * 256),
        (b"multipart/form-data; boundary=" + b"x" * 257, None),
        (b"multipart/form-data; boundary*=x", None),
        (b"multipart/form-data; boundary=", None),
        (b"multipart/form-data", None),
    ],
)
def test_the_boundary_is_the_one_of_the_content_type(content_type, boundary):
    given = (boundary or b"x") + b"\r\n" + OURS + b"1"
    assert FormReader.reads(content_type)
    assert FormReader("sid").values(content_type, b"--" + given) == ([] if boundary is None else [b"1"])


@pytest.mark.parametrize(
    ("content_type", "reads"),
    [
        (MULTIPART, True),
        (b"application/X-www-form-urlencoded; charset=utf-8", True),
        (MULTIPART + b" " * (512 - len(MULTIPART)), True),
        (MULTIPART + b" " * (513 - len(MULTIPART)), False),
        (b"application/json", False),
        (b"", False),
    ],
)
def test_only_forms_with_a_reasonable_content_type_are_read(content_type, reads):
    assert FormReader.reads(content_type) is reads


def test_a_name_is_compared_as_utf_8():
    reader = FormReader("sitzung ü")
    assert reader.values(MULTIPART, field("sitzung ü".encode(), b"1")) == [b"1"]
    assert reader.values(b"application/x-www-form-urlencoded", b"sitzung+%C3%BC=1&a=2") == [b"1"]


@pytest.mark.parametrize("middleware", [asgi.SessionMiddleware, wsgi.SessionMiddleware])
def test_a_missing_parser_is_an_import_error_at_construction_that_names_the_cure(middleware, monkeypatch):
    for name in ("python_multipart", "python_multipart.exceptions", "python_multipart.multipart"):
        monkeypatch.setitem(sys.modules, name, None)
    options = {"secret": SECRET, "store": "memory://"}
    with pytest.raises(ImportError, match=r'pip install "sojourn\[forms\]"'):
        middleware(None, **options, transports=[CookieTransport(), FormTransport()])
    middleware(None, **options, transports=[CookieTransport()])
