"""The values of one field in the beginning of a posted form: urlencoded, or multipart (RFC 7578). No I/O.

Multipart bodies are read by python-multipart: in one pass, and with bounds of its own on a part's headers.
"""

from __future__ import annotations

from logging import CRITICAL, Logger
from typing import Final
from urllib.parse import unquote_to_bytes

__all__ = ["FormReader", "urlencoded", "without_field"]

_URLENCODED: Final = b"application/x-www-form-urlencoded"
_MULTIPART: Final = b"multipart/form-data"
_LONGEST_TYPE: Final = 512
"""Bytes of a Content-Type that are looked at. A boundary has at most 70 (RFC 2046, section 5.1.1)."""
_MOST_PARTS: Final = 32
_UNHEARD: Final = Logger(__name__, CRITICAL)  # noqa: LOG001 - it is to be no part of the tree, where it would be heard
"""What the parser says of a hostile body is nobody's to read: the application's own parser will say it."""


class FormReader:
    """Reads a field of forms.

    Raises:
        ImportError: the ``python-multipart`` package is missing.
    """

    __slots__ = ("_errors", "_name", "_options", "_parser")

    def __init__(self, name: str) -> None:
        try:
            from python_multipart.exceptions import FormParserError  # noqa: PLC0415 - an extra: only forms need it
            from python_multipart.multipart import MultipartParser, parse_options_header  # noqa: PLC0415
        except ImportError as error:
            message = 'a FormTransport needs the python-multipart package: pip install "sojourn[forms]"'
            raise ImportError(message, name=error.name) from error
        self._name = name.encode()
        self._parser = MultipartParser
        self._options = parse_options_header
        self._errors = FormParserError

    @staticmethod
    def reads(content_type: bytes) -> bool:
        """Whether a body of this type is a form that can be read."""
        return len(content_type) <= _LONGEST_TYPE and content_type.lower().startswith((_URLENCODED, _MULTIPART))

    def values(self, content_type: bytes, body: bytes) -> list[bytes]:
        """The values of the field, in order. Where the body was cut off within one, its signature will be wrong."""
        if not content_type.lower().startswith(_MULTIPART):
            return urlencoded(body, self._name)
        boundary = self._options(content_type)[1].get(b"boundary")
        begin = body.find(b"--" + boundary) if boundary else -1  # what is before it means nothing (RFC 2046)
        if not boundary or begin < 0:
            return []
        parts = _Parts(self)
        try:
            parser = self._parser(
                boundary,
                {
                    "on_part_begin": parts.begin,
                    "on_header_field": parts.header_name,
                    "on_header_value": parts.header_value,
                    "on_header_end": parts.header_end,
                    "on_part_data": parts.data,
                },
            )
            parser.logger = _UNHEARD
            parser.write(body[begin:])
        except self._errors:
            pass  # what came before is as good as where the body ends
        return parts.found

    def is_ours(self, disposition: bytes) -> bool:
        """Whether a part's ``Content-Disposition`` names the field."""
        return self._options(disposition)[1].get(b"name") == self._name


class _Parts:
    """What the parser meets, as it goes along."""

    def __init__(self, reader: FormReader) -> None:
        self.found: list[bytes] = []
        self._reader = reader
        self._begun = 0
        self._is_ours = False
        self._header = b""
        self._value = b""

    def begin(self) -> None:
        self._begun += 1
        self._is_ours = False

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._header, self._value = data[start:end], b""

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value = data[start:end]

    def header_end(self) -> None:
        if self._header.lower() == b"content-disposition" and not self._is_ours:
            self._is_ours = self._begun <= _MOST_PARTS and self._reader.is_ours(self._value)
            if self._is_ours:
                self.found.append(b"")

    def data(self, data: bytes, start: int, end: int) -> None:
        if self._is_ours:
            self.found[-1] += data[start:end]


def without_field(query: bytes, name: str) -> bytes:
    """A query without a parameter, so that an id in it goes no further; the rest as it was."""
    return b"&".join(pair for pair in query.split(b"&") if not _is_called(pair, name.encode()))


def urlencoded(text: bytes, name: bytes) -> list[bytes]:
    """The values of a field in urlencoded text."""
    pairs = (pair for pair in text.split(b"&") if _is_called(pair, name))
    return [_unquote(pair.partition(b"=")[2]) for pair in pairs]


def _is_called(pair: bytes, name: bytes) -> bool:
    return _unquote(pair.partition(b"=")[0]) == name


def _unquote(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
