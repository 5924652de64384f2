"""What Flask's and Flask-Session's names in ``app.config`` come to: a table of names, and options made of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from flask import Flask

from .. import stores
from ..clock import duration_ms
from ..cookie import Cookie
from ..errors import ConfigurationError, SojournWarning
from ..options import NATIVE, OptionsDict
from .codec import flask_codec

__all__ = ["permanent_by_default", "warn_of_names", "with_config"]

Config = Mapping[str, Any]

_ABSOLUTE: Final = timedelta(days=365)
"""When a session ends that is visited again and again: as long as Flask-Login remembers somebody."""
_COOKIE_NAMES: Final = ("DOMAIN", "PATH", "HTTPONLY", "SECURE", "SAMESITE", "PARTITIONED")

# Flask-Session's names that have no effect, and what does what they did.
_WITHOUT_EFFECT: Final[dict[str, str]] = {
    "SESSION_USE_SIGNER": "the cookie is always signed",
    "SESSION_ID_LENGTH": "ids have 256 random bits; give the option generate_id for others",
    "SESSION_SERIALIZATION_FORMAT": "records are JSON; give the option codec for another form",
    "SESSION_CLEANUP_N_REQUESTS": "the stores sweep by themselves",
    "SESSION_FILE_THRESHOLD": "SQLite needs no limit of files",
    "SESSION_FILE_MODE": "give the SQLite file its mode yourself",
    "SESSION_CACHELIB": "use SESSION_FILE_DIR, or give the option store",
    "SESSION_MEMCACHED": "there is no store for Memcached; give the option store",
    "SESSION_DYNAMODB": "there is no store for DynamoDB; give the option store",
    "SESSION_DYNAMODB_TABLE": "there is no store for DynamoDB; give the option store",
    "SESSION_DYNAMODB_TABLE_EXISTS": "there is no store for DynamoDB; give the option store",
    # Quart-Session's
    "SESSION_HIJACK_PROTECTION": "sessions are not bound to addresses, which change",
    "SESSION_HIJACK_REVERSE_PROXY": "sessions are not bound to addresses, which change",
    "SESSION_REVERSE_PROXY": "sessions are not bound to addresses, which change",
    "SESSION_STATIC_FILE": "give the option exclude, such as ('/static',)",
    "SESSION_EXPLICIT": "only what changed is saved; to load on demand too, give the option lazy",
    "SESSION_MONGODB_CLIENT_KWARGS": "put them into the URL",
    "SESSION_MONGODB_SET_CALLBACK": "give the option store, with a client of your own",
    # Flask-Session's again
    "SESSION_SQLALCHEMY_TABLE": "give the option store, a URL with ?table=",
    "SESSION_SQLALCHEMY_SEQUENCE": "no sequence is needed",
    "SESSION_SQLALCHEMY_SCHEMA": "give the option store, a URL with ?table=schema.table",
    "SESSION_SQLALCHEMY_BIND_KEY": "give the option store, the URL of that database",
}
# Names that tell of a store, by SESSION_TYPE.
_OF_STORES: Final[dict[str, tuple[str, ...]]] = {
    "redis": ("SESSION_REDIS", "SESSION_KEY_PREFIX"),
    "mongodb": (
        "SESSION_MONGODB",
        "SESSION_MONGODB_DB",
        "SESSION_MONGODB_COLLECT",
        "SESSION_MONGODB_URI",
        "SESSION_MONGODB_COLLECTION",
    ),
    "sqlalchemy": ("SESSION_SQLALCHEMY",),
    "filesystem": ("SESSION_FILE_DIR",),
    "cachelib": ("SESSION_FILE_DIR",),
}


def with_config(
    given: OptionsDict,
    app: Any,
    secrets: str | bytes | Sequence[str | bytes],
    name: str,
    cookie: tuple[Any, ...],
    lifetime: timedelta,
    *,
    colour: str = "",
) -> OptionsDict:
    """Options in which those that are given take the place of what the application's configuration says.

    Args:
        given: the options.
        app: the application, Flask's or Quart's.
        secrets: what signs the cookie.
        name: the cookie's.
        cookie: its domain, path, HttpOnly, Secure, SameSite and Partitioned, as Flask has them.
        lifetime: of permanent sessions.
        colour: what the names of the stores begin with.

    Raises:
        ConfigurationError: something of it is wrong.
    """
    options: OptionsDict = {"secret": secrets, "name": name}
    if "absolute_timeout" not in given:
        options["absolute_timeout"] = max(_ABSOLUTE, lifetime)
    if given.get("profile", NATIVE) is NATIVE:  # Express has it from the store
        limit = given.get("absolute_timeout")
        short = limit is not None and duration_ms("absolute_timeout", limit) < duration_ms("lifetime", lifetime)
        options["idle_timeout"] = limit if short else lifetime
    if "cookie" not in given:
        options["cookie"] = _cookie(*cookie)
    if "store" not in given:
        options["store"] = _store(app, colour)
    options = {**options, **given}
    options["codec"] = flask_codec(given.get("codec"))
    return options


def _cookie(domain: Any, path: str, httponly: bool, secure: bool, samesite: Any, partitioned: bool) -> Cookie:
    """Flask's attributes, but for those that it leaves out by default and that are safer set."""
    if isinstance(samesite, str):
        samesite = samesite.lower()
    if samesite is None:
        samesite = "lax"
    elif samesite == "none" and not secure:  # which browsers take over https alone
        samesite = "auto"
    return Cookie(
        domain=domain.lstrip(".") if domain else None,  # as Werkzeug sends it
        path=path,
        httponly=bool(httponly),
        secure=True if secure else "auto",
        samesite=samesite,
        partitioned=bool(partitioned),
    )


def permanent_by_default(config: Config) -> bool:
    """Whether sessions are permanent that do not say: Flask-Session's default where its names are used, else Flask's."""
    return bool(config.get("SESSION_PERMANENT", config.get("SESSION_TYPE") is not None))


def _store(app: Any, colour: str) -> Any:
    """The store that Flask-Session's names describe; None where there are none.

    Raises:
        ConfigurationError: it is of a kind that there is no store for.
    """
    config: Config = app.config
    kind = config.get("SESSION_TYPE")
    match kind:
        case None:
            return None
        case "redis":
            client = config.get("SESSION_REDIS")
            prefix = config.get("SESSION_KEY_PREFIX", "session:")
            if client is None:
                return f"redis://localhost:6379?prefix={quote(prefix, safe=':')}"
            return getattr(stores, f"{colour}RedisStore")(client, prefix=prefix)
        case "mongodb":
            database = config.get("SESSION_MONGODB_DB", "flask_session")
            collection = config.get("SESSION_MONGODB_COLLECT", config.get("SESSION_MONGODB_COLLECTION", "sessions"))
            client = config.get("SESSION_MONGODB")
            if client is None:
                url = config.get("SESSION_MONGODB_URI", f"mongodb://localhost:27017/{database}")
                return f"{url}{'&' if '?' in url else '?'}collection={quote(collection, safe='')}"
            return getattr(stores, f"{colour}MongoStore")(client, database=database, collection=collection)
        case "sqlalchemy":
            return _sqlalchemy(app)
        case "filesystem" | "cachelib":
            folder = Path(config.get("SESSION_FILE_DIR", "flask_session"))
            folder.mkdir(parents=True, exist_ok=True)
            return f"sqlite:///{quote(str((folder / 'sessions.db').absolute()))}"
        case _:
            raise ConfigurationError(
                "SESSION_TYPE", repr(kind), "there is no such store; give the option store, such as 'redis://localhost'"
            )


def _sqlalchemy(app: Any) -> str:
    """The database of an engine's URL, or of Flask-SQLAlchemy's, without what names SQLAlchemy's driver."""
    config, given = app.config, app.config.get("SESSION_SQLALCHEMY")
    in_app = app.app_context() if isinstance(app, Flask) else nullcontext()  # where Flask-SQLAlchemy has its engine
    with in_app:
        url = getattr(getattr(given, "engine", given), "url", None)
    text = str(config.get("SQLALCHEMY_DATABASE_URI", "")) if url is None else url.render_as_string(hide_password=False)
    scheme, colon, rest = text.partition("://")
    if url is None and scheme == "sqlite" and rest.startswith("/") and not rest.startswith("//"):
        file = Path(app.instance_path, rest[1:])  # where Flask-SQLAlchemy has it
        file.parent.mkdir(parents=True, exist_ok=True)
        rest = f"/{quote(str(file))}"
    if scheme.partition("+")[0] not in ("postgresql", "sqlite"):
        raise ConfigurationError(
            "SESSION_SQLALCHEMY",
            f"a database of kind {scheme or 'none'!r}",
            "give the option store: there are stores for PostgreSQL and SQLite",
        )
    return scheme.partition("+")[0] + colon + rest


def warn_of_names(app: Flask, given: OptionsDict) -> None:
    """Warn, once for each, of names in ``app.config`` that have no effect, and say what does."""
    config, told = app.config, dict[str, str]()
    for name, instead in _WITHOUT_EFFECT.items():
        if name in config:
            told[name] = instead
    kind = config.get("SESSION_TYPE")
    used = () if "store" in given else _OF_STORES.get(str(kind), ())
    for names in _OF_STORES.values():
        told |= {name: "the option store says it" for name in names if name in config and name not in used}
    if kind is not None and "store" in given:
        told["SESSION_TYPE"] = "the option store says it"
    defaults = app.default_config
    changed = {name for name in config if name not in defaults or config[name] != defaults[name]}
    if "cookie" in given:
        told |= {
            name: "the option cookie says it"
            for name in (f"SESSION_COOKIE_{one}" for one in _COOKIE_NAMES)
            if name in changed
        }
    if "name" in given and "SESSION_COOKIE_NAME" in changed:
        told["SESSION_COOKIE_NAME"] = "the option name says it"
    for name, instead in told.items():
        warnings.warn(f"{name} has no effect: {instead}", SojournWarning, stacklevel=5)
