"""Codecs of one's own: what they need, and what they are held to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from sojourn.codecs import Codec, EncryptedCodec, JSONCodec, PlainCodec, dumps
from sojourn.core.plan import Plan
from sojourn.core.policy import decide
from sojourn.core.settings import SessionSettings
from sojourn.errors import SessionEncodeError
from tests.core.making import data_of, make_settings, new, record_bytes, stored
from tests.core.texts import texts_of


class Own:
    """A codec of one's own, with no base."""

    name = "own"

    def __init__(self, encode: Callable[[Any], Any]) -> None:
        self._encode = encode

    def encode(self, value: Any) -> Any:
        return self._encode(value)

    def decode(self, text: bytes) -> Any:
        return JSONCodec().decode(text)

    def seal(self, record: bytes, key: str) -> bytes:
        return record

    def unseal(self, stored: bytes, key: str) -> bytes:
        return stored


class Inherited(Codec):
    """A codec of one's own, with what the protocol has already."""

    name = "inherited"

    def encode(self, value: Any, /) -> bytes:
        return dumps({"v": value})

    def decode(self, text: bytes, /) -> Any:
        return JSONCodec().decode(text)["v"]


def test_a_codec_that_names_the_protocol_as_its_base_need_not_seal():
    settings = make_settings(codec=Inherited())
    raw = record_bytes(settings, {"n": 1})
    assert data_of(raw) == {"n": {"v": 1}}
    session = stored(settings, raw)
    assert session["n"] == 1 and decide(session._state) == Plan(vary=True)


def plain_settings(written: Any, *, beneath: bool = False) -> SessionSettings:
    codec: Any = Own(lambda _value: written)
    return make_settings(codec=EncryptedCodec(b"k" * 32, codec=codec) if beneath else codec)


@pytest.mark.parametrize("beneath", [False, True])
@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("1", "returned a str instead of bytes"),
        (None, "returned a NoneType instead of bytes"),
        (bytearray(b"1"), "returned a bytearray instead of bytes"),
        (b"", "not one JSON value"),
        (b"1,2", "not one JSON value"),
        (b'1,"admin":true', "not one JSON value"),
        (b"{}}", "not one JSON value"),
        (b"NaN", "not one JSON value"),
        (b"\xff", "not one JSON value"),
        (b'"\xff"', "not one JSON value"),
        (b"[1] x", "not one JSON value"),
    ],
)
def test_a_codec_that_writes_anything_but_one_json_value_spoils_no_record(written, reason, beneath):
    session = new(plain_settings(written, beneath=beneath))
    session["a"] = {"b": 1}
    with pytest.raises(SessionEncodeError) as caught:
        decide(session._state)
    assert caught.value.path == "a" and reason in caught.value.reason


@pytest.mark.parametrize("written", [b"1", b' {"a" : [] } ', b'"\\ud800"', '"é"'.encode()])
def test_one_json_value_may_be_written_in_any_way(written):
    settings = plain_settings(written)
    session = new(settings)
    session["a"] = 1
    plan = decide(session._state)
    assert texts_of(plan) == {"a": written.strip()}


def test_a_subclass_with_an_encode_of_its_own_is_held_to_it_too():
    class Sloppy(JSONCodec):
        def encode(self, value: Any, /) -> bytes:
            return super().encode(value) + b","

    class Sealed(EncryptedCodec):
        def encode(self, value: Any, /) -> bytes:
            return super().encode(value) + b","

    for codec in (Sloppy(), Sealed(b"k" * 32), EncryptedCodec(b"k" * 32, codec=Sloppy())):
        session = new(make_settings(codec=codec))
        session["a"] = 1
        with pytest.raises(SessionEncodeError, match="not one JSON value"):
            decide(session._state)


def test_our_own_codecs_are_not_checked_at_every_value():
    class Mine(JSONCodec):
        """With an encode that is ours."""

    for codec in (JSONCodec(), PlainCodec(), Mine(), EncryptedCodec(b"k" * 32, codec=EncryptedCodec(b"l" * 32))):
        assert make_settings(codec=codec).encode == codec.encode


def test_a_refusal_of_a_codec_of_ones_own_is_told_with_the_values_name():
    def refuse(_value: object) -> bytes:
        raise SessionEncodeError("deep[1]", "not this one")

    session = new(make_settings(codec=Own(refuse)))
    session["a"] = 1
    with pytest.raises(SessionEncodeError) as caught:
        decide(session._state)
    assert (caught.value.path, caught.value.reason) == ("a.deep[1]", "not this one")


def test_any_other_error_of_a_codec_is_the_applications_to_see():
    session = new(make_settings(codec=Own(mock.Mock(side_effect=ZeroDivisionError))))
    session["a"] = 1
    with pytest.raises(ZeroDivisionError):
        decide(session._state)
