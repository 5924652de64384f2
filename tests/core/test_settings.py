from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.codecs import JSONCodec, PlainCodec
from sojourn.cookie import Cookie
from sojourn.core import settings as rules_module
from sojourn.core.settings import Expiries, Rules
from sojourn.errors import ConfigurationError
from sojourn.ids import hash_id
from sojourn.options import Options
from sojourn.wire.cookies import encode_value
from sojourn.wire.signing import Signer
from tests.core.making import DAY, HOUR, NOW, SECRET, make_policy


def make(**options: Any) -> Rules:
    return make_policy(**options).rules


# -- names ------------------------------------------------------------------------------------------------------------


def test_the_store_sees_hashes_unless_told_otherwise():
    assert make().key_of("id") == hash_id("id")
    assert make(hash_ids=False).key_of("id") == "id"


NAMES = [
    # the option, the cookie, sent over http as, sent over https as
    ("sid", {}, "sid", "__Host-sid"),
    ("sid", {"secure": True}, "__Host-sid", "__Host-sid"),
    ("sid", {"secure": False}, "sid", "sid"),
    ("sid", {"path": "/app"}, "sid", "sid"),
    ("sid", {"domain": "example.com"}, "sid", "sid"),
    ("sid", {"path": "/app", "secure": True}, "sid", "sid"),
    ("__Host-sid", {"secure": True}, "__Host-sid", "__Host-sid"),
    ("__host-sid", {"secure": True}, "__host-sid", "__host-sid"),
    ("__Secure-sid", {"secure": True}, "__Secure-sid", "__Secure-sid"),
    ("__sid", {"secure": True}, "__sid", "__sid"),
]


@pytest.mark.parametrize(("name", "cookie", "http", "https"), NAMES)
def test_the_host_prefix_is_taken_wherever_browsers_allow_it(name, cookie, http, https):
    rules = make(name=name, cookie=Cookie(**cookie))
    config = Cookie(**cookie)
    assert rules.cookie_name(config, secure=False) == http
    assert rules.cookie_name(config, secure=True) == https


@pytest.mark.parametrize(("name", "cookie", "http", "https"), NAMES)
def test_a_cookie_counts_as_prefixed_where_its_name_says_so(name, cookie, http, https):
    rules, config = make(name=name, cookie=Cookie(**cookie)), Cookie(**cookie)
    assert rules.is_prefixed(config, secure=False) == http.lower().startswith("__host-")
    assert rules.is_prefixed(config, secure=True) == https.lower().startswith("__host-")


# contract 11
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("cookie", [Cookie(), Cookie(secure=True), Cookie(secure=False)])
def test_express_knows_no_prefix(secure, cookie):
    assert make(express_profile=True, cookie=cookie).cookie_name(cookie, secure=secure) == "connect.sid"


# -- ids --------------------------------------------------------------------------------------------------------------


# contract 62
def test_a_generated_id_is_used_as_it_is_and_its_generator_sees_the_request():
    seen = []

    def generate(request: Any) -> str:
        seen.append(request)
        return "üß €" * 5

    assert make(generate_id=generate).draw_id({"path": "/x"}) == "üß €" * 5
    assert seen == [{"path": "/x"}]


# contract 59
@pytest.mark.parametrize("answer", [None, "", b"bytes", 5, ["id"], "x" * 5000, "€" * 500])
def test_an_id_that_no_cookie_can_hold_is_no_id_and_an_error_in_the_log(answer, caplog):
    assert make(generate_id=lambda request: answer).draw_id({}) is None
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "generate_id" in record.getMessage() and "not saved" in record.getMessage()
    assert not isinstance(answer, str) or not answer or answer[:10] not in record.getMessage()


@pytest.mark.parametrize("name", ["sid", "a" * 200])
@pytest.mark.parametrize("profile", [False, True])
def test_an_id_of_the_greatest_length_still_makes_a_cookie_that_browsers_keep(name, profile):
    lengths = []
    for length in range(3500, 4100):
        rules = make(name=name, express_profile=profile, generate_id=lambda request, length=length: "x" * length)
        if (drawn := rules.draw_id({})) is not None:
            signer = Signer([SECRET], rules.options.profile.signature)
            lengths.append(len("__Host-" + name) + len(encode_value(signer.sign(drawn))))
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
    assert make(cookie=config, **options).idle_ms(config, overrides) == idle


def test_a_stores_own_default_is_the_last_resort():
    options: Any = {"secret": SECRET}
    rules = Rules(Options.of(options), default_idle_ms=14 * DAY)
    assert rules.idle_ms(Cookie(), {}) == 14 * DAY
    assert rules.idle_ms(Cookie(max_age=60), {}) == 60_000


@pytest.mark.parametrize(
    ("given", "idle", "after"),
    [(None, DAY, DAY // 20), (None, 19, 0), (None, 20, 1), (0, DAY, 0), (60, DAY, 60_000), (0.001, DAY, 1)],
)
def test_a_touch_is_due_after_a_twentieth_unless_told_otherwise(given, idle, after):
    assert make(touch_after=given).touch_after_ms(idle) == after


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
    rules = make(absolute_timeout=None if absolute is None else absolute / 1000)
    assert rules.deadline(NOW, NOW - age, idle) == NOW + left


@given(st.integers(0, 10**13), st.integers(0, 10**12), st.integers(1, 10**11), st.none() | st.integers(1, 10**11))
def test_no_deadline_is_beyond_either_limit(now, age, idle, absolute):
    deadline = make(absolute_timeout=None if absolute is None else absolute / 1000).deadline(now, now - age, idle)
    limits = [now + idle] + ([] if absolute is None else [now - age + absolute])
    assert deadline == min(limits)


# -- the codec --------------------------------------------------------------------------------------------------------


def test_data_are_tagged_json_unless_told_otherwise():
    assert isinstance(make().codec, JSONCodec)
    plain = PlainCodec()
    assert make(codec=plain).codec is plain


@pytest.mark.parametrize(
    ("codec", "missing"),
    [("json", "revive"), (object(), "encode"), (type("Half", (), {"encode": len, "revive": len})(), "seal")],
)
def test_what_is_no_codec_is_refused_at_construction(codec, missing):
    with pytest.raises(ConfigurationError) as caught:
        make(codec=codec)
    assert caught.value.option == "codec"
    assert caught.value.given == type(codec).__name__
    assert f"{missing}()" in caught.value.remedy


# -- what a store cannot tell -----------------------------------------------------------------------------------------


def test_a_noted_expiry_counts_down_and_an_unknown_one_is_over():
    expiries = Expiries()
    expiries.note("key", NOW + 100)
    assert expiries.remaining("key", NOW) == 100
    assert expiries.remaining("key", NOW + 99) == 1
    assert expiries.remaining("key", NOW + 200) == 0
    assert expiries.remaining("other", NOW) == 0


def test_notes_are_bounded_and_the_oldest_go_first(monkeypatch):
    monkeypatch.setattr(rules_module, "_MOST_RECENT", 3)
    expiries = Expiries()
    for key in ("a", "b", "c", "a", "d"):
        expiries.note(key, NOW + 1)
    assert [key for key in "abcd" if expiries.remaining(key, NOW)] == ["a", "c", "d"]
