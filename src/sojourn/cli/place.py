"""Which store a command works on, and how its records are read: the options that the commands share."""

from __future__ import annotations

import os
import secrets
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import click

from ..admin import Admin
from ..core.settings import SessionSettings
from ..errors import ConfigurationError, SojournWarning
from ..migrate.command import encrypting
from ..migrate.endpoints import CODECS, Endpoint, source_endpoint
from ..options import Options, OptionsDict
from ..profiles import express
from .output import Out
from .values import DURATION

__all__ = ["Site", "file_text", "on_store", "refuse_password", "store_url", "with_json"]

_NAMES: Final = {
    "source": "the store",
    "source_codec": "--codec",
    "idle_timeout": "--idle-timeout",
    "passport": "--passport",
    "secret": "the secret",
}
"""What options of the library are called here."""
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_OPTIONS: Final = (
    click.option(
        "--store",
        "store",
        metavar="URL",
        help="The store's URL, if there is no password in it. Else it is in SOJOURN_STORE, or in a file.",
    ),
    click.option("--store-file", type=_FILE, help="A file with the store's URL."),
    click.option(
        "--keys-file",
        type=_FILE,
        help="A file with the keys of encrypted sessions, the newest first: base64url, or id:base64url, with blanks between. Else they are in SOJOURN_KEYS.",
    ),
    click.option(
        "--secret-file",
        type=_FILE,
        help="A file with the middleware's secrets, one a line, by which the handles of devices are understood. Else they are in SOJOURN_SECRET.",
    ),
    click.option(
        "--codec",
        type=click.Choice(list(CODECS)),
        help="The middleware's codec: plain in Express's layouts, else json.",
    ),
    click.option("--keep-ids", is_flag=True, help="The middleware has hash_ids=False: the store's keys are ids."),
    click.option(
        "--passport", is_flag=True, help="The middleware has passport=True: passport.user in the data is the owner."
    ),
    click.option(
        "--idle-timeout", type=DURATION, help="The middleware's, by which it is told when a session was used last."
    ),
)


class Site(Admin):
    """A store that a command works on."""

    def __init__(self, endpoint: Endpoint, settings: SessionSettings) -> None:
        super().__init__(endpoint.store, settings)
        self.is_express: bool = endpoint.is_express
        """Whether Express reads and writes there too."""
        self.place: str = sha256(endpoint.place.encode()).hexdigest()[:16]
        """What tells the store from others, and says nothing about it."""


def on_store(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """Give a command the options that say which store, and as its first argument that store, as a `Site`."""

    @wraps(command)
    def run(**given: Any) -> int | None:
        names = (
            "store", "store_file", "keys_file", "secret_file", "codec", "keep_ids", "passport", "idle_timeout",
        )  # fmt: skip
        with opened(**{name: given.pop(name) for name in names}) as site:
            return command(site, **given)

    for option in reversed(_OPTIONS):
        run = option(run)
    return run


def with_json(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """Give a command ``--json``, and where its results go as the argument ``out``."""

    @wraps(command)
    def run(*positional: Any, as_json: bool, **given: Any) -> int | None:
        return command(*positional, out=Out(as_json=as_json), **given)

    return click.option("--json", "as_json", is_flag=True, help="JSON, for scripts.")(run)


@contextmanager
def opened(
    *,
    store: str | None,
    store_file: Path | None,
    keys_file: Path | None,
    secret_file: Path | None,
    codec: str | None,
    keep_ids: bool,
    passport: bool,
    idle_timeout: int | None,
) -> Iterator[Site]:
    """The store while the block runs.

    Raises:
        ConfigurationError: an option is not what it should be.
        StoreError: the store cannot be opened.
    """
    with _in_our_words(), warnings.catch_warnings():
        warnings.simplefilter("ignore", SojournWarning)  # a short secret is not this program's business
        keys = file_text("SOJOURN_KEYS", keys_file)
        option = "SOJOURN_KEYS" if keys_file is None else "--keys-file"
        endpoint = source_endpoint(
            store_url(store, store_file), codec if keys is None else encrypting(option, keys, codec or "json")
        )
        if endpoint.is_library:
            raise ConfigurationError("source", "another library's layout", "sojourn migrate copies from there")
        settings = _settings(endpoint, file_text("SOJOURN_SECRET", secret_file), keep_ids, passport, idle_timeout)
    try:
        yield Site(endpoint, settings)
    finally:
        endpoint.store.close()


def _settings(
    endpoint: Endpoint, secret: str | None, keep_ids: bool, passport: bool, idle_timeout: int | None
) -> SessionSettings:
    lines = None if secret is None else list(filter(None, secret.splitlines()))
    given: OptionsDict = {
        "secret": lines or secrets.token_bytes(32),
        "codec": endpoint.codec,
        "passport": passport,
        "idle_timeout": None if idle_timeout is None else idle_timeout / 1000,
    }
    if endpoint.is_express:
        return SessionSettings(Options.of(express(**given)), default_idle_ms=endpoint.default_ttl)
    return SessionSettings(Options.of({**given, "hash_ids": not keep_ids, "absolute_timeout": None}))


def store_url(given: str | None, file: Path | None) -> str:
    """The URL of the store, from where no list of processes shows it.

    Raises:
        ConfigurationError: there is none, or one with a password in the arguments.
    """
    if given is not None:
        refuse_password("--store", given)
        return given
    url = file_text("SOJOURN_STORE", file)
    if url is None:
        remedy = "put its URL into the environment variable SOJOURN_STORE, or say --store-file FILE or --store URL"
        raise ConfigurationError("the store", "none", remedy)
    return url.strip()


def refuse_password(option: str, url: str) -> None:
    """Refuse a URL with a password among the arguments.

    Raises:
        ConfigurationError: there is one in it.
    """
    try:
        parts = urlsplit(url)
        has_password = parts.password is not None
    except ValueError:
        return  # whoever opens it says what is wrong
    if has_password or any(name.endswith("password") for name, _ in parse_qsl(parts.query)):
        raise ConfigurationError(
            option,
            "a URL with a password, which every list of processes shows",
            "put it into the environment variable SOJOURN_STORE, or into a file for --store-file",
        )


def file_text(variable: str, file: Path | None) -> str | None:
    """What a file holds, or else an environment variable; None if neither is there."""
    if file is not None:
        return file.read_text("utf-8", "replace")
    return os.environ.get(variable) or None


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(_NAMES.get(error.option, error.option), error.given, error.remedy) from None
