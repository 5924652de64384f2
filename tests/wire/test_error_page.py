"""The 503: HTML, problem details, or a function's; and whatever a function does, a page goes out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sojourn import StoreUnavailable
from sojourn.options import ErrorPage
from sojourn.wire.error_page import error_page

NO_PAGE: Any = 5
OURS = {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "Retry-After": "5"}


def made(option: Any, request: Any = None) -> tuple[dict[str, str], bytes]:
    headers, body = error_page(option, request)
    kept = dict(headers)
    assert len(kept) == len(headers) and kept.pop("Content-Length") == str(len(body))
    return kept, body


@pytest.mark.parametrize("option", [None, lambda request: None])
def test_without_a_page_it_is_a_short_one(option):
    headers, body = made(option)
    assert headers == OURS and b"<h1>Service unavailable</h1>" in body


@pytest.mark.parametrize(
    "option", ["<p>Täglich", lambda request: "<p>Täglich", lambda request: ErrorPage("<p>Täglich")]
)
def test_text_is_html(option):
    assert made(option) == (OURS, "<p>Täglich".encode())


def test_a_function_is_given_the_request():
    assert made(lambda request: f"<p>{request}", "it")[1] == b"<p>it"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, {"title": "Service Unavailable", "status": 503}),
        ({"detail": "später"}, {"title": "Service Unavailable", "status": 503, "detail": "später"}),
        ({"title": "Später", "status": 200, "n": 1}, {"title": "Später", "status": 503, "n": 1}),
    ],
)
def test_a_mapping_is_sent_as_problem_details(given, sent):
    headers, body = made(lambda request: given)
    assert headers == {**OURS, "Content-Type": "application/problem+json"} and json.loads(body) == sent


def test_a_page_may_have_headers_of_its_own_but_for_some():
    more = {
        "retry-after": "60",
        "Content-Language": "de",
        "Content-Type": "text/plain",
        "cache-control": "public",
        "Transfer-Encoding": "chunked",
        "CONTENT-LENGTH": "1",
    }
    headers, _ = made(lambda request: ErrorPage("später", more))
    assert headers == {
        "retry-after": "60",
        "Content-Language": "de",
        "Content-Type": "text/plain",
        "Cache-Control": "no-store",
    }


def fails(_request: object) -> None:
    raise StoreUnavailable("who knows")


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (fails, "StoreUnavailable: who knows"),
        (lambda request: b"<p>", "TypeError: it returned bytes"),
        (lambda request: ErrorPage(NO_PAGE), "TypeError: it returned int"),
        (lambda request: {"detail": object()}, "TypeError: Object of type object is not JSON serializable"),
        (
            lambda request: ErrorPage("", {"Retry-After": "1\r\nSet-Cookie: a=b"}),
            "ValueError: a header's name or value",
        ),
        (lambda request: ErrorPage("", {"Retry After": "1"}), "ValueError: a header's name or value"),
        (lambda request: "\ud800", "UnicodeEncodeError: "),
        (lambda request: {"n": float("nan")}, "ValueError: "),
    ],
)
def test_a_function_that_fails_is_logged_and_the_short_page_is_sent(option, told, caplog):
    assert made(option) == made(None)
    [record] = caplog.records
    assert record.getMessage().startswith(f"store_error_page failed, and the short page is sent: {told}")
