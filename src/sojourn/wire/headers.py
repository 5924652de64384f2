"""The response headers that a session adds, for headers as bytes (ASGI) and as str (WSGI)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import AnyStr, Final, Generic, NamedTuple, TypeAlias

__all__ = ["BYTES", "TEXT", "Header", "Words", "with_session"]

Header: TypeAlias = tuple[str, str]
"""The name and value of a response header."""


class Words(NamedTuple, Generic[AnyStr]):
    """Header names and values in one string type."""

    vary: AnyStr
    star: AnyStr
    comma: AnyStr
    cache_control: AnyStr
    no_store: AnyStr
    clear_site_data: AnyStr


BYTES: Final = Words(b"vary", b"*", b", ", b"cache-control", b"no-store", b"clear-site-data")
TEXT: Final = Words("Vary", "*", ", ", "Cache-Control", "no-store", "Clear-Site-Data")


def with_session(
    headers: Iterable[tuple[AnyStr, AnyStr]],
    words: Words[AnyStr],
    *,
    session_header: tuple[AnyStr, AnyStr] | None,
    vary: Iterable[AnyStr],
    clears: AnyStr | None = None,
) -> list[tuple[AnyStr, AnyStr]]:
    """A new list with what the session adds, the app's own kept in order.

    ``Vary`` with what the session's id is read from, if the session was looked at; with ``session_header``, that header as the last
    (contract 99), and, each unless the app has its own, ``Cache-Control: no-store`` (contract 101) and ``Clear-Site-Data`` with ``clears``.
    """
    result: list[tuple[AnyStr, AnyStr]] = [*map(tuple, headers)]  # type: ignore[list-item]  # some frameworks give lists
    for on in vary:
        for name, _ in result:
            if len(name) == _LENGTH_OF_VARY and name.lower() == words.vary.lower():
                _add_to_vary(result, words, on)
                break
        else:
            result.append((words.vary, on))
    if session_header is not None:
        for mine, value in ((words.cache_control, words.no_store), (words.clear_site_data, clears)):
            if value is not None and not any(name.lower() == mine.lower() for name, _ in result):
                result.append((mine, value))
        result.append(session_header)
    return result


_LENGTH_OF_VARY: Final = 4


def _add_to_vary(headers: list[tuple[AnyStr, AnyStr]], words: Words[AnyStr], on: AnyStr) -> None:
    """Add a name to the last ``Vary``, unless one has it, or a star."""
    fields = [(index, value) for index, (name, value) in enumerate(headers) if name.lower() == words.vary.lower()]
    listed = [part.strip().lower() for _, value in fields for part in value.split(words.comma.strip())]
    if words.star not in listed and on.lower() not in listed:
        last, value = fields[-1]
        headers[last] = headers[last][0], value + words.comma + on if value else on
