"""The page to come back to: of this site, whatever a link or a request says."""

from __future__ import annotations

from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.wire.next_page import is_of_this_site, present_page, with_next


@pytest.mark.parametrize("page", ["/", "/a?b=1", "/a//b", "/?next=//evil.test", "/ü", "/a#b"])
def test_a_path_is_of_this_site(page: str) -> None:
    assert is_of_this_site(page)


@pytest.mark.parametrize(
    "page", ["", "a", "?a", "//evil.test", "/\\evil.test", "/\t/evil.test", "/\n", "https://evil.test/", "javascript:1"]
)
def test_what_leads_elsewhere_in_some_browser_is_not(page: str) -> None:
    assert not is_of_this_site(page)


@given(st.text(alphabet="/\\.:@?#%a\t\n\r 1", max_size=12))
def test_what_is_taken_stays_on_the_host_as_browsers_read_it(page: str) -> None:
    if is_of_this_site(page):
        # The URL standard: control characters go, and a backslash is a slash.
        read = "".join(character for character in page if character not in "\t\n\r").replace("\\", "/")
        assert urlsplit(urljoin("https://shop.test/confirm", read)).netloc == "shop.test"


def test_the_present_page_is_that_of_a_request_that_only_looks() -> None:
    assert present_page("GET", "/a", "b=1&c") == "/a?b=1&c"
    assert present_page("HEAD", "/a", "") == "/a"
    assert [present_page(method, "/a", "") for method in ("POST", "PUT", "DELETE", "OPTIONS", "get")] == [None] * 5
    assert present_page("GET", "//evil.test", "") is None


@pytest.mark.parametrize(
    ("location", "page", "whole"),
    [
        ("/confirm", "/a?b=1&c=%20", "/confirm?next=/a%3Fb%3D1%26c%3D%2520"),
        ("/confirm?lang=de", "/a", "/confirm?lang=de&next=/a"),
        ("/confirm#form", "/a", "/confirm?next=/a#form"),
        ("/confirm?x#form?", "/a", "/confirm?x&next=/a#form?"),
        ("/confirm", None, "/confirm"),
    ],
)
def test_it_goes_into_the_query(location: str, page: str | None, whole: str) -> None:
    assert with_next(location, page) == whole


@given(st.text(alphabet="/?#&=%a+ ü;", max_size=12))
def test_it_comes_out_as_it_went_in(rest: str) -> None:
    found = parse_qs(urlsplit(with_next("/confirm?a=1#b", f"/{rest}", "to")).query)
    assert found == {"a": ["1"], "to": [f"/{rest}"]}
