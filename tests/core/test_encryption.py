"""Records that the store cannot read, alter or move."""

from __future__ import annotations

import base64
import builtins
import json
import re
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn import logs
from sojourn.codecs import EncryptedCodec, PlainCodec
from sojourn.errors import ConfigurationError, SessionDecodeError, SessionEncodeError

ONE, TWO = bytes([1]) * 32, bytes([2]) * 32
CODEC = EncryptedCodec(ONE)


@given(st.binary(max_size=200), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_what_was_sealed_for_a_key_opens_for_it(record: bytes, key: str) -> None:
    assert CODEC.unseal(CODEC.seal(record, key), key) == record


def test_a_sealed_record_is_a_json_string_with_scheme_key_id_and_text() -> None:
    sealed = CODEC.seal(b'{"a":1}', "key")
    assert re.fullmatch(rb'"sj1\.[0-9a-f]{8}\.[A-Za-z0-9_-]+"', sealed)
    text = json.loads(sealed).split(".")[2]
    assert len(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) == 12 + len(b'{"a":1}') + 16


def test_no_two_seals_are_equal() -> None:
    assert len({CODEC.seal(b"{}", "key") for _ in range(100)}) == 100


# Of each length modulo 3, as the last character has 0, 2 or 4 bits that mean nothing.
@pytest.mark.parametrize("record", [b"{}", b'{"a":1}', b'{"a":22}', b'{"a":333}'])
def test_a_record_with_any_one_character_altered_does_not_open(record: bytes) -> None:
    sealed = CODEC.seal(record, "key")
    opened = []
    for position in range(len(sealed)):
        for byte in range(256):
            altered = sealed[:position] + bytes([byte]) + sealed[position + 1 :]
            if altered != sealed and is_opened(altered):
                opened.append((position, chr(byte)))
    assert opened == []


def test_a_record_with_a_character_more_or_less_does_not_open() -> None:
    sealed = CODEC.seal(b'{"a":1}', "key")
    for position in range(len(sealed) + 1):
        assert not is_opened(sealed[:position] + sealed[position + 1 :]) or position == len(sealed)
        for byte in range(256):
            assert not is_opened(sealed[:position] + bytes([byte]) + sealed[position:])


@pytest.mark.parametrize("altered", [b"%b=", b"%b==", b" %b", b"%b\n", b"%b.", b".%b", b"%b%%"])
def test_a_record_with_padding_or_other_characters_does_not_open(altered: bytes) -> None:
    head, text = CODEC.seal(b"{}", "key").rsplit(b".", 1)
    assert not is_opened(b'%b.%b"' % (head, altered % text[:-1]))


def is_opened(sealed: bytes) -> bool:
    try:
        CODEC.unseal(sealed, "key")
    except SessionDecodeError:
        return False
    return True


def test_a_key_has_one_id_so_that_none_can_be_exchanged_for_another() -> None:
    with pytest.raises(ConfigurationError, match="a key or an id twice"):
        EncryptedCodec({"a": ONE, "b": ONE})


def test_a_record_cut_anywhere_does_not_open() -> None:
    sealed = CODEC.seal(b"{}", "key")
    for length in range(len(sealed)):
        for stored in (sealed[:length], sealed[:length] + b'"'):
            if stored != sealed:
                with pytest.raises(SessionDecodeError):
                    CODEC.unseal(stored, "key")


@pytest.mark.parametrize("stored", [b"", b"{}", b'{"a":1}', b'"sj1"', b'"sj2.a.b"', b"null", b"\xff"])
def test_what_is_not_sealed_is_refused(stored: bytes) -> None:
    with pytest.raises(SessionDecodeError, match="not encrypted"):
        CODEC.unseal(stored, "key")


@given(st.binary(max_size=40))
def test_any_bytes_are_refused_as_a_record(noise: bytes) -> None:
    name = CODEC.seal(b"", "key").split(b".")[1]
    for stored in (noise, b'"sj1.%b.%b"' % (name, noise), b'"sj1.%b.x"' % noise):
        with pytest.raises(SessionDecodeError):
            CODEC.unseal(stored, "key")


def test_a_record_moved_to_another_session_does_not_open() -> None:
    with pytest.raises(SessionDecodeError, match="altered, cut or moved"):
        CODEC.unseal(CODEC.seal(b"{}", "one"), "other")


def test_the_first_key_seals_and_all_keys_open() -> None:
    old, both, new = EncryptedCodec(ONE), EncryptedCodec([TWO, ONE]), EncryptedCodec([TWO])
    assert both.unseal(old.seal(b"{}", "key"), "key") == b"{}"
    assert new.unseal(both.seal(b"{}", "key"), "key") == b"{}"
    with pytest.raises(SessionDecodeError, match="a key that is not configured"):
        old.unseal(both.seal(b"{}", "key"), "key")


def test_the_wrong_key_under_a_right_id_does_not_open() -> None:
    with pytest.raises(SessionDecodeError, match="altered"):
        EncryptedCodec({"a": ONE}).unseal(EncryptedCodec({"a": TWO}).seal(b"{}", "key"), "key")


def test_keys_may_be_given_ids() -> None:
    codec = EncryptedCodec({"2026-11": TWO, "2025_x": ONE})
    sealed = codec.seal(b"{}", "key")
    assert sealed.startswith(b'"sj1.2026-11.')
    assert EncryptedCodec({"2026-11": TWO}).unseal(sealed, "key") == b"{}"


@given(st.binary(min_size=32, max_size=32))
def test_a_key_may_be_base64_text_in_either_alphabet_with_or_without_padding(key: bytes) -> None:
    text = base64.urlsafe_b64encode(key).decode()
    sealed = EncryptedCodec(key).seal(b"{}", "key")
    forms: list[Any] = [text, text.rstrip("="), base64.b64encode(key).decode(), bytearray(key)]
    for form in forms:
        assert EncryptedCodec(form).unseal(sealed, "key") == b"{}"


SHORT = b"S3CRET" * 5
BAD_KEYS: list[Any] = [
    SHORT, b"", "", "S3CRET", "S3CRET" * 40, "é" * 32, "!" * 43, "A" * 42 + "B", "A" * 43 + "==", [], {}, [SHORT], [ONE, SHORT], {"a": SHORT}, [3.5], 7,
    32, [32], [[1] * 32], {"": ONE}, {"a.b": ONE}, {'"': ONE}, {"x" * 33: ONE}, {1: ONE}, [ONE, TWO, ONE],
]  # fmt: skip


@pytest.mark.parametrize("given_keys", BAD_KEYS)
def test_malformed_keys_are_refused_without_being_shown(given_keys: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        EncryptedCodec(given_keys)
    assert "S3CRET" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_keys_without_an_order_are_told_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_said", set())
    for _ in range(2):
        EncryptedCodec({ONE, TWO})
    EncryptedCodec({ONE})
    EncryptedCodec({"a": ONE, "b": TWO})
    assert caplog.messages == [
        "keys is a set, which has no order: which of them seals differs from process to process; give a list, the newest first"
    ]


def test_a_codec_shows_no_key() -> None:
    shown = repr(EncryptedCodec([b"S3CRETS3CRETS3CRETS3CRETS3CRETS3", TWO]))
    assert shown == "EncryptedCodec(KeyRing(2 keys), codec=JSONCodec())"


def test_plaintext_is_read_only_while_it_is_accepted() -> None:
    moving = EncryptedCodec(ONE, accept_plaintext=True)
    assert moving.unseal(b'{"a":1}', "key") == b'{"a":1}'
    assert moving.unseal(CODEC.seal(b"{}", "key"), "key") == b"{}"
    with pytest.raises(SessionDecodeError, match="not encrypted"):
        moving.unseal(b'"text"', "key")


def test_the_text_is_the_inner_codecs() -> None:
    raw = CODEC.encode([date(2026, 1, 2)])
    assert raw == b'[{"$date":"2026-01-02"}]'
    assert CODEC.decode(raw) == [date(2026, 1, 2)]
    with pytest.raises(SessionEncodeError) as caught:
        EncryptedCodec(ONE, codec=PlainCodec()).encode([date(2026, 1, 2)])
    assert caught.value.path == "[0]"
    with pytest.raises(SessionDecodeError):
        CODEC.decode(b"[")


def test_the_reserved_names_are_the_inner_codecs() -> None:
    assert EncryptedCodec(ONE, codec=PlainCodec(reserved={"save"})).reserved == {"save"}
    assert CODEC.reserved == frozenset()


@pytest.mark.parametrize(
    ("inner", "lacks"), [(b"json", "a bytes without encode()"), (object(), "a object without encode()")]
)
def test_what_is_no_codec_is_refused_beneath_it(inner: Any, lacks: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        EncryptedCodec(ONE, codec=inner)
    assert (caught.value.option, caught.value.given) == ("codec", lacks)


def test_codecs_may_be_nested() -> None:
    codec = EncryptedCodec(ONE, codec=EncryptedCodec(TWO))
    sealed = codec.seal(b"{}", "key")
    assert codec.unseal(sealed, "key") == b"{}"
    assert EncryptedCodec(TWO).unseal(EncryptedCodec(ONE).unseal(sealed, "key"), "key") == b"{}"


def test_without_the_cryptography_package_the_error_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name.startswith("cryptography"):
            raise ModuleNotFoundError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=re.escape('pip install "sojourn[crypto]"')):
        EncryptedCodec(ONE)
