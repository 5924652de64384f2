"""The 503 that is sent when the store fails: ours, or what the option ``store_error_page`` makes of the request."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from ..logs import described, log
from .tokens import is_token

__all__ = ["ErrorPage", "PageOption", "error_page"]


class ErrorPage(NamedTuple):
    """What a ``store_error_page`` that is a function may return, where a ``str`` or a mapping alone does not say enough."""

    body: str | Mapping[str, object]
    """HTML; or a mapping: problem details (RFC 9457), sent as ``application/problem+json`` with ``status`` and a ``title``."""
    headers: Mapping[str, str] = {}
    """More headers, or others than ours: ``Content-Type``, ``Retry-After``, ``Content-Language``. ``Content-Length`` and ``Cache-Control`` stay."""


PageOption: TypeAlias = str | Callable[[Any], ErrorPage | str | Mapping[str, object] | None] | None
"""The option: HTML, a function of the request, or None for a short page."""

_SHORT: Final = ErrorPage(
    "<!doctype html><title>Service unavailable</title><h1>Service unavailable</h1><p>Please try again in a moment."
)
_RETRY_AFTER: Final = "5"  # seconds
_KEPT: Final = ("content-length", "cache-control", "transfer-encoding")
_is_value: Final = re.compile(r"[\x20-\x7e]*", re.ASCII).fullmatch


def error_page(option: PageOption, request: Any) -> tuple[list[tuple[str, str]], bytes]:
    """Headers and body of the 503. A function that raises, or returns what is no page, is logged, and the short page is sent."""
    if not callable(option):
        return _made(_SHORT if option is None else ErrorPage(option))
    try:
        page = option(request)
        if page is None:
            page = _SHORT
        return _made(page if isinstance(page, ErrorPage) else ErrorPage(page))
    except Exception as error:  # noqa: BLE001 - the application's, in the midst of an outage
        shown = described(error)
        log.error("store_error_page failed, and the short page is sent: %s: %s", type(error).__name__, *shown.args)
    return _made(_SHORT)


def _made(page: ErrorPage) -> tuple[list[tuple[str, str]], bytes]:
    if isinstance(page.body, str):
        body, kind = page.body.encode(), "text/html; charset=utf-8"
    elif isinstance(page.body, Mapping):
        problem = {"title": "Service Unavailable", **page.body, "status": 503}
        body, kind = json.dumps(problem, allow_nan=False).encode(), "application/problem+json"
    else:
        raise TypeError(f"it returned {type(page.body).__name__}; return HTML as a str, a dict, an ErrorPage, or None")
    headers = {"content-type": ("Content-Type", kind), "retry-after": ("Retry-After", _RETRY_AFTER)}
    for name, value in page.headers.items():
        if not is_token(name) or not _is_value(value):
            raise ValueError("a header's name or value is none that can be sent")
        if name.lower() not in _KEPT:
            headers[name.lower()] = name, value
    return [*headers.values(), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")], body
