"""By which transport a session's id is sent back."""

from __future__ import annotations

import pytest

from sojourn.transports import CookieTransport, FormTransport, HeaderTransport, QueryTransport
from sojourn.wire.id_source import IdSource

COOKIE, HEADER, QUERY, FORM = CookieTransport(), HeaderTransport(), QueryTransport(), FormTransport()
BEARER = HeaderTransport(bearer=True)


@pytest.mark.parametrize(
    ("usual", "came_by", "carrier", "borrowed"),
    [
        # by what a new id goes, by what this one came (None: it is new), by what it goes back, whether it was only lent
        (COOKIE, None, COOKIE, False),
        (HEADER, None, HEADER, False),
        (None, None, None, False),
        (COOKIE, COOKIE, COOKIE, False),
        (COOKIE, HEADER, HEADER, False),
        (HEADER, COOKIE, COOKIE, False),
        (COOKIE, BEARER, BEARER, False),
        # an id in a link or a page may be somebody else's: it goes into no cookie or header
        (COOKIE, QUERY, COOKIE, True),
        (HEADER, FORM, HEADER, True),
        (None, QUERY, None, True),
    ],
)
def test_an_id_goes_back_by_the_transport_that_it_came_by(usual, came_by, carrier, borrowed):
    source = IdSource(usual, {} if came_by is None else {"id": came_by, "other": HEADER})
    came_as = None if came_by is None else "id"
    assert source.carrier(came_as) == carrier
    assert source.is_borrowed(came_as) is borrowed
