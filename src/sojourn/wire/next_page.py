"""The page to come back to after a login, or after the password was asked for again. It travels in the URL, as ``next``.

Whoever sends a link chooses what is in there, so it counts only if it is a page of this site (CWE-601, open redirect).
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

__all__ = ["NEXT", "is_of_this_site", "present_page", "with_next"]

NEXT: Final = "next"
_SAFE: Final = ("GET", "HEAD")


def is_of_this_site(page: str) -> bool:
    r"""Whether it is a path of this site, with or without a query, for every browser: some take ``/\`` for ``//``, and leave out control characters."""
    return page.startswith("/") and not page.startswith(("//", "/\\")) and page.isprintable()


def present_page(method: str, path: str, query: str) -> str | None:
    """The page that a request asks for: path and query. None where it asked for more than to see one, as a POST does.

    Args:
        method: the request's.
        path: as the browser sees it, percent-encoded.
        query: without its ``?``.
    """
    page = f"{path}?{query}" if query else path
    return page if method in _SAFE and is_of_this_site(page) else None


def with_next(location: str, page: str | None, name: str = NEXT) -> str:
    """An address that is told to come back to a page, in a parameter of its query; as it is where there is no such page."""
    if page is None:
        return location
    address, mark, fragment = location.partition("#")
    return f"{address}{'&' if '?' in address else '?'}{name}={quote(page)}{mark}{fragment}"
