"""The URLs of the Redis stores: where the server is, and the store's options."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from ...errors import ConfigurationError
from .._url import Converter, boolean, duration, integer, is_number, parse_query, positive, text
from ._idle import KEEPALIVE

__all__ = ["SCHEMES", "Server", "parse_url"]

_KINDS: Final = {"": 6379, "unix": 0, "sentinel": 26379, "cluster": 6379}
"""The kinds of servers, and their ports."""
SCHEMES: Final[dict[str, tuple[str, bool]]] = {
    "redis": ("", False),
    "rediss": ("", True),
    "unix": ("unix", False),
    "redis+unix": ("unix", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
"""Scheme to the kind of server and whether it speaks TLS."""

_FORMS: Final = {
    "": "redis://user:password@host:6379/0",
    "unix": "redis+unix:///run/redis.sock?db=0",
    "sentinel": "redis+sentinel://host1:26379,host2:26379/service/0",
    "cluster": "redis+cluster://host1:6379,host2:6379",
}

_NO_LIMIT: Final = 2**31


@dataclass(frozen=True)
class Server:
    """Where a server is and how to speak to it. Times are in seconds."""

    kind: str = ""
    hosts: tuple[tuple[str, int], ...] = (("localhost", 6379),)
    path: str = ""
    service: str = ""
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)
    tls: bool = False
    ssl_ca_certs: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_cert_reqs: str = "required"
    ssl_check_hostname: bool = True
    connect_timeout: float = 5.0
    timeout: float = 5.0
    max_connections: int | None = None
    near_cache: int = 0
    """Bytes of records that may be kept in this process; 0 for none."""
    near_cache_window: float = 1.0

    def client_options(self) -> dict[str, Any]:
        """How to speak to it, as redis-py's arguments."""
        options: dict[str, Any] = {
            "username": self.username,
            "password": self.password,
            "socket_connect_timeout": self.connect_timeout,
            "socket_timeout": self.timeout,
            "retry": None,
            "socket_keepalive": True,
            "socket_keepalive_options": KEEPALIVE,
            "max_connections": self.max_connections or _NO_LIMIT,  # redis-py 8 has one of its own
            "protocol": 2,  # nothing is pushed, so that redis-py gives up a connection that has something to say
        }
        if self.tls:
            options |= {
                "ssl": True,
                "ssl_ca_certs": self.ssl_ca_certs,
                "ssl_certfile": self.ssl_certfile,
                "ssl_keyfile": self.ssl_keyfile,
                "ssl_cert_reqs": self.ssl_cert_reqs,
                "ssl_check_hostname": self.ssl_check_hostname and self.ssl_cert_reqs == "required",
            }
        return options

    def sentinel_options(self) -> dict[str, Any]:
        """How to speak to the sentinels, as redis-py's arguments."""
        login = {"username": self.sentinel_username, "password": self.sentinel_password}
        return {**self.client_options(), **login}

    def greeting(self) -> list[tuple[str, ...]]:
        """What a connection of our own begins with."""
        commands: list[tuple[str, ...]] = []
        if self.near_cache:
            login = ("AUTH", self.username or "default", self.password or "")
            commands.append(("HELLO", "3", *(login if self.username or self.password else ())))
            commands.append(("CLIENT", "TRACKING", "ON"))
        elif self.username or self.password:
            commands.append(("AUTH", *filter(None, (self.username,)), self.password or ""))
        if self.db:
            commands.append(("SELECT", str(self.db)))
        return commands

    def ssl_context(self) -> ssl.SSLContext | None:
        """What TLS is to check, the same for each kind of client."""
        if not self.tls:
            return None
        context = ssl.create_default_context(cafile=self.ssl_ca_certs)
        context.check_hostname = self.ssl_check_hostname and self.ssl_cert_reqs == "required"
        context.verify_mode = ssl.CERT_REQUIRED if self.ssl_cert_reqs == "required" else ssl.CERT_NONE
        if self.ssl_certfile is not None:
            context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile)
        return context


def parse_url(url: str) -> tuple[Server, dict[str, Any]]:
    """The server, and the arguments that the query gives to the store.

    Raises:
        ConfigurationError: another form, or an unknown option. No message holds a password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ConfigurationError("store", "a URL of another scheme", f"the schemes are {', '.join(SCHEMES)}")
    kind, tls = SCHEMES[scheme]
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    login, _, hosts = authority.rpartition("@")
    username, _, password = login.partition(":")
    given: dict[str, Any] = {
        "kind": kind,
        "tls": tls,
        "username": unquote(username) or None,
        "password": unquote(password) or None,
        **_path(kind, unquote(path)),
    }
    if kind == "unix":
        if hosts or not path:
            raise _malformed(kind)
    elif not kind and "," in hosts:
        raise _malformed(kind)
    else:
        given["hosts"] = tuple(_host(kind, host) for host in hosts.split(","))
    options = parse_query(scheme, query, _STORE_OPTIONS | _SERVER_OPTIONS)
    ours = {name: options.pop(name) for name in _STORE_OPTIONS if name in options}
    given |= options
    if kind == "cluster" and given.get("db"):
        raise ConfigurationError("db", repr(given["db"]), "a cluster has database 0 alone")
    if given.get("near_cache") and kind in ("cluster", "sentinel"):
        raise ConfigurationError(
            "near_cache", f"with {scheme}://", "it is kept true by the one connection to one server: leave it out"
        )
    if "near_cache_window" in given and "near_cache" not in given:
        raise ConfigurationError("near_cache_window", "without near_cache", "give near_cache too, or leave it out")
    server = Server(**given)
    try:
        server.ssl_context()
    except OSError as error:
        raise ConfigurationError("ssl_ca_certs", type(error).__name__, "give files that OpenSSL can read") from error
    return server, ours


def _path(kind: str, path: str) -> dict[str, Any]:
    if kind == "unix":
        return {"path": f"/{path}"}
    service = ""
    if kind == "sentinel":
        service, _, path = path.partition("/")
        if not service:
            raise _malformed(kind)
    if path and not is_number(path):
        raise _malformed(kind)
    return {"service": service, "db": int(path or 0)}


def _host(kind: str, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":") if ":" in text.rpartition("]")[2] else (text, "", "")
    if port and not is_number(port):
        raise _malformed(kind)
    return unquote(host).strip("[]") or "localhost", int(port or _KINDS[kind])


def _malformed(kind: str) -> ConfigurationError:
    return ConfigurationError("store", "a URL of another form", f"give {_FORMS[kind]}")


def _requirement(option: str, value: str) -> str:
    if value not in {"required", "none"}:
        raise ConfigurationError(option, repr(value), "give required or none")
    return value


_STORE_OPTIONS: Final[dict[str, Converter]] = {
    "prefix": text,
    "layout": text,
    "max_size": integer,
}
_SERVER_OPTIONS: Final[dict[str, Converter]] = {
    "db": integer,
    "connect_timeout": duration,
    "timeout": duration,
    "max_connections": positive,
    "near_cache": integer,
    "near_cache_window": duration,
    "ssl_ca_certs": text,
    "ssl_certfile": text,
    "ssl_keyfile": text,
    "ssl_cert_reqs": _requirement,
    "ssl_check_hostname": boolean,
    "sentinel_username": text,
    "sentinel_password": text,
}
