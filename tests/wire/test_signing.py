from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sojourn.wire.cookies import clean_value, encode_value
from sojourn.wire.signing import Signer, Verified

SECRET = b"keyboard cat"
FORMATS = ["native", "express"]
formats: Any = st.sampled_from(FORMATS)
secrets = st.binary(min_size=1, max_size=200)  # on both sides of SHA-256's block of 64 bytes
ids = st.text(min_size=1)

# The wire formats' vectors, by the secret "keyboard cat".
VECTORS = [
    ("wulJLPAtqX6RqdOGY6Z30DOzphrja_7w", "uVtzCGGkRhuzCsTOKThOZCXPFwsYYojMoqr32b1o4Go"),
    ("Y43IOTrnPQ2egdddayQgNnHsbFs6cI89", "d6lO%2Fo22sIIFz435xIAoylfTxUGegWbIK09unofMA28"),
    ("mEAhIkHCWm8m7Yv6aAL1OdwMhAQ_tHu6", "sOpaxkYGyky4RsP8fUWPveiH6OTXLsnXz%2FH%2BoGIsTYM"),
]


def by_the_standard_library(secret: bytes, session_id: str, format: str) -> str:  # noqa: A002
    digest = hmac.digest(secret, session_id.encode("utf-8", "surrogatepass"), hashlib.sha256)
    if format == "express":
        return f"s:{session_id}.{base64.b64encode(digest).decode().rstrip('=')}"
    return f"{session_id}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def as_bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


# contract 30, 33
@pytest.mark.parametrize(("session_id", "signature"), VECTORS)
def test_express_signed_the_same_and_reads_it(session_id, signature):
    signer = Signer([SECRET], "express")
    sent = encode_value(signer.sign(session_id))
    assert sent == f"s%3A{session_id}.{signature}"
    assert signer.verify(clean_value(sent.encode())) == Verified(session_id, needs_resigning=False)


@given(secrets, ids, formats)
def test_the_signature_is_hmac_sha256_for_any_key_and_id(secret, session_id, format):  # noqa: A002
    assert Signer([secret], format).sign(session_id) == by_the_standard_library(secret, session_id, format)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 128])
@pytest.mark.parametrize("format", FORMATS)
def test_keys_about_a_block_long_are_padded_or_hashed_as_rfc_2104_says(length, format):  # noqa: A002
    secret = bytes(range(length))
    assert Signer([secret], format).sign("id") == by_the_standard_library(secret, "id", format)


@given(secrets, ids, formats)
def test_what_was_signed_verifies(secret, session_id, format):  # noqa: A002
    signer = Signer([secret], format)
    value = signer.sign(session_id)
    assert signer.verify(as_bytes(value)) == (session_id, False)
    assert signer.verify(clean_value(encode_value(value).encode())) == (session_id, False)


def test_a_native_value_of_a_generated_id_needs_no_percent_encoding():
    value = Signer([SECRET]).sign("AZaz09-_" * 5)
    assert encode_value(value) == value


@given(secrets, ids, formats, st.data())
def test_no_tampered_value_verifies(secret, session_id, format, data):  # noqa: A002
    signer = Signer([secret], format)
    value = as_bytes(signer.sign(session_id))
    at = data.draw(st.integers(0, len(value) - 1))
    other = data.draw(
        st.sampled_from(
            [
                value[:at] + bytes([value[at] ^ 1 << data.draw(st.integers(0, 7))]) + value[at + 1 :],
                value[:at] + value[at + 1 :],
                value[:at] + data.draw(st.binary(min_size=1, max_size=3)) + value[at:],
            ]
        )
    )
    assume(other != value)
    assert signer.verify(other) is None


@given(st.binary(max_size=120), formats)
def test_junk_is_no_error(junk, format):  # noqa: A002
    assert Signer([SECRET], format).verify(junk) is None


@given(ids, formats, st.permutations([b"one", b"two", b"three"]))
def test_the_first_secret_signs_and_all_verify(session_id, format, order):  # noqa: A002 # contract 34, 35
    signer = Signer(order, format)
    assert signer.sign(session_id) == by_the_standard_library(order[0], session_id, format)
    for index, secret in enumerate(order):
        value = as_bytes(by_the_standard_library(secret, session_id, format))
        assert signer.verify(value) == Verified(session_id, needs_resigning=index > 0)
    assert Signer([b"four"], format).verify(as_bytes(signer.sign(session_id))) is None


# contract 30, 32
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "value", [b"", b".", b"..", b"id", b"id.", b".id", b"s:", b"s:.", b"s:id", b"s:id.", b"a" * 43]
)
def test_what_is_unsigned_or_empty_does_not_verify(value, format):  # noqa: A002
    assert Signer([SECRET], format).verify(value) is None


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_id_does_not_verify_however_rightly_signed(format):  # noqa: A002
    signer = Signer([SECRET], format)
    assert signer.verify(signer.sign("").encode()) is None


# contract 30
def test_one_formats_values_are_nothing_in_the_other():
    native, express = Signer([SECRET], "native"), Signer([SECRET], "express")
    assert express.verify(native.sign("id").encode()) is None
    # An id that begins with the marker is an id like any other.
    assert native.verify(native.sign("s:id").encode()) == ("s:id", False)
    assert express.verify(native.sign("s:id").encode()) is None


@pytest.mark.parametrize("format", FORMATS)
def test_bytes_that_are_no_text_are_no_id_even_if_signed(format):  # noqa: A002
    digest = hmac.digest(SECRET, b"\xff\xfe", hashlib.sha256)
    text = base64.b64encode(digest) if format == "express" else base64.urlsafe_b64encode(digest)
    marker = b"s:" if format == "express" else b""
    assert Signer([SECRET], format).verify(marker + b"\xff\xfe." + text.rstrip(b"=")) is None


@given(secrets, ids, formats)
def test_a_token_is_the_signed_id_as_it_travels(secret, session_id, format):  # noqa: A002
    signer = Signer([secret], format)
    token = signer.token(session_id)
    assert token == encode_value(signer.sign(session_id))
    assert token.isascii()
    assert signer.verify(clean_value(token.encode())) == Verified(session_id, needs_resigning=False)


def test_a_signer_shows_no_secret():
    shown = repr(Signer([b"hunter2-hunter2"]))
    assert "hunter2" not in shown and b"hunter2".hex() not in shown
