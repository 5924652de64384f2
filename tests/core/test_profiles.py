"""The Express profile: options as Express users have them."""

from __future__ import annotations

from typing import Any

import pytest

from sojourn.codecs import JSONCodec, PlainCodec
from sojourn.cookie import Cookie
from sojourn.errors import ConfigurationError
from sojourn.options import EXPRESS, Options
from sojourn.profiles import express
from tests.core.making import SECRET


# contract 14
@pytest.mark.parametrize(("version", "unset"), [({}, "keep"), ({"version": 1}, "keep"), ({"version": 2}, "destroy")])
def test_a_version_of_express_brings_its_defaults(version, unset):
    assert express(secret=SECRET, **version)["unset"] == unset


@pytest.mark.parametrize("version", [0, 3, "1", 1.0, True, None])
def test_another_version_is_refused(version):
    with pytest.raises(ConfigurationError) as caught:
        express(secret=SECRET, version=version)
    assert caught.value.option == "version"


def test_the_profile_is_what_express_writes_and_reads():
    options = Options.of(express(secret=SECRET))
    assert options.profile is EXPRESS
    assert (options.name, options.cookie) == ("connect.sid", Cookie(secure=False, samesite=None))
    assert (options.hash_ids, options.absolute_ms, options.touch_after_ms) == (False, None, 0)
    assert isinstance(options.codec, PlainCodec)


@pytest.mark.parametrize(
    ("name", "value"), [("name", "sid"), ("unset", "destroy"), ("touch_after", 60), ("codec", JSONCodec())]
)
def test_what_is_given_takes_the_place_of_the_profiles(name, value):
    given: Any = {"secret": SECRET, name: value}
    assert getattr(Options.of(express(**given)), name) is value
