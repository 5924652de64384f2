from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.codecs import EncryptedCodec, JSONCodec, PlainCodec
from sojourn.cookie import Cookie
from sojourn.core import settings as settings_module
from sojourn.core.settings import ExpiryCache, SessionSettings
from sojourn.errors import ConfigurationError
from sojourn.ids import hash_id
from sojourn.options import Options
from sojourn.wire.cookies import encode_value
from sojourn.wire.signing import Signer
from tests.core.making import DAY, HOUR, NOW, SECRET, make_settings

# -- names ------------------------------------------------------------------------------------------------------------


def test_the_store_sees_hashes_unless_told_otherwise():
    assert make_settings().key_of("id") == hash_id("id")
    assert make_settings(hash_ids=False).key_of("id") == "id"


# -- ids --------------------------------------------------------------------------------------------------------------


# contract 62
def test_a_generated_id_is_used_as_it_is_and_its_generator_sees_the_request():
    seen = []

    def generate(request: Any) -> str:
        seen.append(request)
        return "üß €" * 5

    assert make_settings(generate_id=generate).generate_id({"path": "/x"}) == "üß €" * 5
    assert seen == [{"path": "/x"}]


# contract 59
@pytest.mark.parametrize("returned", [None, "", b"bytes", 5, ["id"], "x" * 5000, "€" * 500])
def test_an_id_that_no_cookie_can_hold_is_no_id_and_an_error_in_the_log(returned, caplog):
    assert make_settings(generate_id=lambda request: returned).generate_id({}) is None
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "generate_id" in record.getMessage() and "not saved" in record.getMessage()
    assert not isinstance(returned, str) or not returned or returned[:10] not in record.getMessage()


@pytest.mark.parametrize(("returned", "reason"), [("an id\0of ours", "U+0000"), ("an id\udc80of ours", "surrogate")])
def test_where_ids_are_keys_one_that_stores_refuse_is_no_id_and_an_error_in_the_log(returned, reason, caplog):
    assert make_settings(generate_id=lambda request: returned, hash_ids=False).generate_id({}) is None
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "generate_id returned an id that stores refuse: a key cannot contain" in record.getMessage()
    assert reason in record.getMessage() and returned not in record.getMessage()
    assert make_settings(generate_id=lambda request: returned).generate_id({}) == returned  # its hash is the key


@pytest.mark.parametrize("name", ["sid", "a" * 200])
@pytest.mark.parametrize("profile", [False, True])
def test_an_id_of_the_greatest_length_still_makes_a_cookie_that_browsers_keep(name, profile):
    lengths = []
    for length in range(3500, 4100):
        settings = make_settings(
            name=name, express_profile=profile, generate_id=lambda request, length=length: "x" * length
        )
        if (generated := settings.generate_id({})) is not None:
            signer = Signer([SECRET], settings.options.profile.signature)
            lengths.append(len("__Host-" + name) + len(encode_value(signer.sign(generated))))
    assert lengths and 4000 < max(lengths) <= 4096


# -- lifetimes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "cookie", "overrides", "idle"),
    [
        ({}, {}, {}, DAY),
        ({}, {"max_age": 3600}, {}, HOUR),
        ({}, {"max_age": 0.5}, {}, 500),
        ({"idle_timeout": 60}, {}, {}, 60_000),
        ({"idle_timeout": 60}, {"max_age": 3600}, {}, 60_000),
        ({}, {}, {"originalMaxAge": 5}, 5),
        ({}, {"max_age": 3600}, {"originalMaxAge": 5}, 5),
        ({"idle_timeout": 60}, {"max_age": 3600}, {"originalMaxAge": 5}, 5),
        ({"idle_timeout": 60}, {}, {"originalMaxAge": 0}, 0),
        # a session made one of the browser's session lives as if nothing were configured for the cookie
        ({}, {"max_age": 3600}, {"originalMaxAge": None}, DAY),
        ({"idle_timeout": 60}, {"max_age": 3600}, {"originalMaxAge": None}, 60_000),
        ({}, {}, {"path": "/x"}, DAY),
        ({"idle_timeout": 60}, {}, {"path": "/x"}, 60_000),
    ],
)
def test_the_idle_timeout_is_the_sessions_own_else_as_configured(options, cookie, overrides, idle):
    config = Cookie(**cookie)
    assert make_settings(cookie=config, **options).idle_ms(config, overrides) == idle


def test_a_stores_own_default_is_the_last_resort():
    options: Any = {"secret": SECRET}
    settings = SessionSettings(Options.of(options), default_idle_ms=14 * DAY)
    assert settings.idle_ms(Cookie(), {}) == 14 * DAY
    assert settings.idle_ms(Cookie(max_age=60), {}) == 60_000


@pytest.mark.parametrize(
    ("given", "idle", "after"),
    [(None, DAY, DAY // 20), (None, 19, 0), (None, 20, 1), (0, DAY, 0), (60, DAY, 60_000), (0.001, DAY, 1)],
)
def test_a_touch_is_due_after_a_twentieth_unless_told_otherwise(given, idle, after):
    assert make_settings(touch_after=given).touch_after_ms(idle) == after


@pytest.mark.parametrize(
    ("absolute", "age", "idle", "left"),
    [
        (None, 0, DAY, DAY),
        (None, 1000 * DAY, DAY, DAY),
        (2 * DAY, 0, DAY, DAY),
        (2 * DAY, DAY, DAY, DAY),
        (2 * DAY, DAY + 1, DAY, DAY - 1),
        (2 * DAY, 2 * DAY, DAY, 0),
        (2 * DAY, 3 * DAY, DAY, -DAY),
        (HOUR, 0, DAY, HOUR),
        (1500, 1, 1499, 1499),
        (1500, 2, 1499, 1498),
    ],
)
def test_a_session_ends_by_the_idle_or_the_absolute_timeout_whichever_is_first(absolute, age, idle, left):
    settings = make_settings(absolute_timeout=None if absolute is None else absolute / 1000)
    assert settings.deadline(NOW, NOW - age, idle) == NOW + left


@given(st.integers(0, 10**13), st.integers(0, 10**12), st.integers(1, 10**11), st.none() | st.integers(1, 10**11))
def test_no_deadline_is_beyond_either_limit(now, age, idle, absolute):
    deadline = make_settings(absolute_timeout=None if absolute is None else absolute / 1000).deadline(
        now, now - age, idle
    )
    limits = [now + idle] + ([] if absolute is None else [now - age + absolute])
    assert deadline == min(limits)


# -- the codec --------------------------------------------------------------------------------------------------------


def test_data_are_tagged_json_unless_told_otherwise():
    assert isinstance(make_settings().codec, JSONCodec)
    plain = PlainCodec()
    assert make_settings(codec=plain).codec is plain


def half(*methods: str) -> object:
    return type("Half", (), dict.fromkeys(methods, len))()


@pytest.mark.parametrize(
    ("codec", "lacks"),
    [
        ("json", "a str without decode()"),
        (object(), "a object without encode()"),
        (5, "a int without encode()"),
        (half("encode"), f"a {__name__}.Half without decode()"),
        (half("encode", "decode"), f"a {__name__}.Half without seal()"),
        (half("encode", "decode", "seal"), f"a {__name__}.Half without unseal()"),
    ],
)
def test_what_is_no_codec_is_refused_at_construction(codec, lacks):
    with pytest.raises(ConfigurationError) as caught:
        make_settings(codec=codec)
    assert (caught.value.option, caught.value.given) == ("codec", lacks)
    assert "encode(value) and decode(text) for one value at a time, seal() and unseal()" in caught.value.remedy
    assert "revive" not in caught.value.remedy


def test_a_codec_of_an_earlier_version_is_told_what_has_taken_the_place_of_revive():
    with pytest.raises(ConfigurationError) as caught:
        make_settings(codec=half("encode", "revive", "seal", "unseal"))
    assert caught.value.given == f"a {__name__}.Half without decode()"
    assert "decode(text)" in caught.value.remedy and "revive() is no longer called" in caught.value.remedy


def test_a_codecs_methods_are_all_that_it_takes():
    codec = half("encode", "decode", "seal", "unseal")
    assert make_settings(codec=codec).codec is codec


@pytest.mark.parametrize(
    ("codec", "dropped"),
    [
        (JSONCodec(), set()),
        (PlainCodec(), set()),
        (PlainCodec(reserved={"save", "id"}), {"save", "id"}),
        (EncryptedCodec(b"k" * 32, codec=PlainCodec(reserved={"save"})), {"save"}),
    ],
)
def test_the_names_of_the_record_are_reserved_and_those_that_the_codec_names(codec, dropped):
    settings = make_settings(codec=codec)
    assert settings.dropped == dropped
    assert settings.reserved == dropped | {"cookie", "__sojourn__"}


# -- what a store cannot tell -----------------------------------------------------------------------------------------


def test_a_noted_expiry_counts_down_and_an_unknown_one_is_over():
    expiries = ExpiryCache()
    expiries.note("key", NOW + 100)
    assert expiries.remaining("key", NOW) == 100
    assert expiries.remaining("key", NOW + 99) == 1
    assert expiries.remaining("key", NOW + 200) == 0
    assert expiries.remaining("other", NOW) == 0


def test_notes_are_bounded_and_the_oldest_go_first(monkeypatch):
    monkeypatch.setattr(settings_module, "_MOST_RECENT", 3)
    expiries = ExpiryCache()
    for key in ("a", "b", "c", "a", "d"):
        expiries.note(key, NOW + 1)
    assert [key for key in "abcd" if expiries.remaining(key, NOW)] == ["a", "c", "d"]
