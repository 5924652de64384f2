"""What can be configured as a transport, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sojourn.errors import ConfigurationError
from sojourn.transports import CookieTransport, FormTransport, HeaderTransport, OldCookieTransport, QueryTransport
from tests.core.making import make_reader, make_settings


@pytest.mark.parametrize(
    ("given", "ways"),
    [
        (CookieTransport(), (CookieTransport(),)),
        ([HeaderTransport(), CookieTransport()], (HeaderTransport(), CookieTransport())),
        (
            (FormTransport(max_bytes=1), QueryTransport(name="s")),
            (FormTransport(max_bytes=1), QueryTransport(name="s")),
        ),
        ([HeaderTransport(), HeaderTransport(bearer=True)], (HeaderTransport(), HeaderTransport(bearer=True))),
    ],
)
def test_one_transport_or_several_in_their_order(given, ways):
    assert make_settings(transports=given).options.ways == ways


def test_by_cookie_alone_unless_told_otherwise():
    assert make_settings().options.ways == (CookieTransport(),)
    assert make_reader().by_cookie
    assert not make_reader(transports=[CookieTransport(), QueryTransport()]).by_cookie


@pytest.mark.parametrize(
    "given",
    [
        None,
        "cookie",
        (),
        [],
        ["cookie"],
        [CookieTransport],
        CookieTransport,
        [CookieTransport(), CookieTransport()],
        [FormTransport(), FormTransport(name="other")],
        [HeaderTransport(), OldCookieTransport(library="starsessions", until=datetime(2027, 1, 1, tzinfo=UTC))],
    ],
)
def test_what_is_no_list_of_transports_is_refused(given):
    with pytest.raises(ConfigurationError) as caught:
        make_settings(transports=given)
    assert caught.value.option == "transports"


REFUSED: list[tuple[type[Any], dict[str, Any]]] = [
    (HeaderTransport, {"name": ""}),
    (HeaderTransport, {"name": "X Session"}),
    (HeaderTransport, {"name": "X-Ünïcode"}),
    (HeaderTransport, {"name": None}),
    (HeaderTransport, {"name": "cookie"}),
    (HeaderTransport, {"name": "Set-Cookie"}),
    (HeaderTransport, {"name": "Authorization"}),
    (QueryTransport, {"name": ""}),
    (QueryTransport, {"name": 5}),
    (FormTransport, {"name": ""}),
    (FormTransport, {"max_bytes": 0}),
    (FormTransport, {"max_bytes": -1}),
    (FormTransport, {"max_bytes": True}),
    (FormTransport, {"max_bytes": 2**30}),
    (FormTransport, {"max_bytes": 1.5}),
    (OldCookieTransport, {"library": "beaker", "until": datetime(2027, 1, 1, tzinfo=UTC)}),
    (OldCookieTransport, {"library": "starsessions", "until": datetime(2027, 1, 1)}),  # noqa: DTZ001 - that is why
    (OldCookieTransport, {"library": "starsessions", "until": "2027-01-01"}),
    (OldCookieTransport, {"library": "flask-session", "name": "", "until": datetime(2027, 1, 1, tzinfo=UTC)}),
    (OldCookieTransport, {"library": "flask-session", "secret": "", "until": datetime(2027, 1, 1, tzinfo=UTC)}),
    (OldCookieTransport, {"library": "starsessions", "secret": "a secret", "until": datetime(2027, 1, 1, tzinfo=UTC)}),
    (OldCookieTransport, {"library": "django", "secret": "a secret", "until": datetime(2027, 1, 1, tzinfo=UTC)}),
]


@pytest.mark.parametrize(("kind", "given"), REFUSED)
def test_a_transport_that_cannot_work_is_refused(kind, given):
    with pytest.raises(ConfigurationError) as caught:
        kind(**given)
    assert caught.value.option == "transports"
