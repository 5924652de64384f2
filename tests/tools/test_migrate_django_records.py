"""What a row of Django's is read as, what is refused, and which URLs name its table. Without a server."""

from __future__ import annotations

import pickle
import time
from typing import Any

import pytest
from django.core import signing

from sojourn import ConfigurationError, SessionDecodeError
from sojourn.core.record import unpack
from sojourn.migrate.django_records import DjangoCodec
from sojourn.migrate.endpoints import source_endpoint

SALT = "django.contrib.sessions.SessionStore"
SECRET = "the secret key"
AUTH = {"_auth_user_id": "5", "_auth_user_backend": "b", "_auth_user_hash": "h"}


def row(data: Any, secret: str = SECRET, *, salt: str = SALT, serializer: Any = signing.JSONSerializer) -> bytes:
    """As Django writes it."""
    signer = signing.TimestampSigner(key=secret, salt=salt, fallback_keys=[])
    return signer.sign_object(data, serializer=serializer, compress=True).encode()


class Pickles:
    dumps, loads = staticmethod(pickle.dumps), staticmethod(pickle.loads)


def read(stored: bytes, *secrets: bytes, pickles: bool = False) -> dict[str, Any]:
    codec = DjangoCodec(secrets or (SECRET.encode(),), pickles=pickles)
    text = codec.unseal(stored, "a key")
    assert text == codec.unseal(stored, "a key"), "the same each time, by which a later run knows it"
    return {name: codec.decode(bytes(value)) for name, value in unpack(text).data.items()}


@pytest.mark.parametrize(
    "data", [{}, {"n": 1}, {"text": "é" * 1000, "nested": [{"a": None}]}, {**AUTH, "_messages": "[]"}]
)
def test_a_row_is_read_plain_or_deflated(data: dict[str, Any]) -> None:
    assert read(row(data)) == data
    assert read(row(data), b"another", SECRET.encode()) == data


def test_a_serializer_that_pickles_is_read_only_where_that_is_asked_for() -> None:
    stored = row({"pair": (1, 2)}, serializer=Pickles)
    assert read(stored, pickles=True) == {"pair": (1, 2)}
    with pytest.raises(SessionDecodeError, match="the record is a pickle"):
        read(stored)


@pytest.mark.parametrize(
    "stored",
    [
        row({"n": 1}, "another secret"),
        row({"n": 1}, salt="django.core.signing"),
        row({"n": 1}).removesuffix(b"=")[:-1],
        b"x" + row({"n": 1}),
        pickle.dumps({"n": 1}),
        b'{"n":1}',
        b":",
        "é".encode(),
    ],
    ids=["another secret", "another salt", "cut", "longer", "a pickle", "JSON", "a colon", "not ASCII"],
)
def test_what_the_secret_did_not_sign_is_refused(stored: bytes) -> None:
    with pytest.raises(SessionDecodeError, match="the row was signed by none of the secrets"):
        read(stored, pickles=True)


@pytest.mark.parametrize("signed", [".eyJuIjoxfQ:1vPjZd", "eyJuIjoxfQ:!", "eyJuIjoxfQ:\u00e9", "e:1vPjZd"])
def test_what_is_signed_and_still_no_session_is_refused(signed: str) -> None:
    stored = signing.Signer(key=SECRET, salt=SALT, fallback_keys=[]).sign(signed)
    with pytest.raises(SessionDecodeError, match="the row cannot be read"):
        read(stored.encode())


def test_it_exists_since_it_was_written_at_least() -> None:
    record = unpack(DjangoCodec((SECRET.encode(),)).unseal(row(AUTH), "a key"))
    assert record.created is not None and 0 <= time.time() * 1000 - record.created < 60_000


@pytest.mark.parametrize(("user", "owner"), [("5", "5"), (5, None), ("", None), ("x" * 5000, None), (None, None)])
def test_whoever_is_logged_in_owns_it(user: Any, owner: str | None) -> None:
    record = unpack(DjangoCodec((SECRET.encode(),)).unseal(row({"_auth_user_id": user}), "a key"))
    assert record.owner == owner


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite://?layout=django", " <django ''>"),
        (
            "postgresql+psycopg://u:secret@h/app?layout=django&timezone=Europe/Paris&table=t&schema=s",
            "h/app <django ''>",
        ),
    ],
)
def test_a_url_names_a_table_and_shows_no_password(url: str, shown: str) -> None:
    endpoint = source_endpoint(url, None, SECRET)
    assert (endpoint.place, endpoint.is_library) == (shown, True)
    endpoint.store.close()


@pytest.mark.parametrize(
    ("url", "codec", "secret", "given"),
    [
        ("sqlite://?layout=django", None, None, "none, for rows that Django has signed"),
        ("sqlite://?layout=django", None, [], "an empty list"),
        ("sqlite://?layout=django", None, "", "something else"),
        ("sqlite://?layout=django", None, 5, "something else"),
        ("sqlite://?layout=django", None, [SECRET, 5], "something else"),
        ("redis://h?layout=django", None, SECRET, "a secret, for records that are not signed"),
        ("redis://h", None, SECRET, "a secret, for records that are not signed"),
        ("sqlite://?layout=django", "json", SECRET, "a codec for django"),
        ("mongodb://h/app?layout=django", None, SECRET, "a URL of scheme 'mongodb'"),
        ("nothing://h/app?layout=django", None, SECRET, "a URL that SQLAlchemy refuses"),
        ("sqlite://?layout=django&timezone=Mars", None, SECRET, "the time zone 'Mars'"),
        ("sqlite://?layout=django&timezone=", None, SECRET, "the time zone ''"),
        ("sqlite://?layout=django&prefix=x", None, SECRET, "a prefix for Django's table"),
        ("redis://[h?layout=django", None, None, "a malformed URL"),
    ],
)
def test_what_is_not_right_is_refused(url: str, codec: Any, secret: Any, given: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        source_endpoint(url, codec, secret)
    assert caught.value.given == given
