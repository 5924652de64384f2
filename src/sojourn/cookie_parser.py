"""Cookies as Express has them, beside the session's: plain, signed (``s:``) and JSON (``j:``).

They are read and written as the Node packages cookie-parser and cookie-signature do it. Sessions need none of this.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from hmac import compare_digest
from typing import Any, Final, NamedTuple, NoReturn

from .options import Secret, check_secrets
from .wire.cookies import encode_value
from .wire.signing import Signer

__all__ = ["CookieParser", "Cookies"]

_SIGNED: Final = "s:"
_JSON: Final = "j:"
_BLANKS: Final = " \t"
_UNKNOWN: Final = "__proto__"  # no object of JavaScript has it as a name of its own
_escapes: Final = re.compile("(?:%[0-9A-Fa-f]{2})+")


class Cookies(NamedTuple):
    """What a ``Cookie`` header has; of several cookies of a name the first."""

    plain: dict[str, Any]
    """``req.cookies``: text, or what it was in JSON. Without secrets, signed ones are here as they came."""
    signed: dict[str, Any]
    """``req.signedCookies``: likewise, where the signature is right; False where it is not."""


class CookieParser:
    """Reads and writes cookies as Express's ``cookieParser(secret)`` and ``res.cookie()`` do.

    Example::

        parser = CookieParser([new_secret, old_secret])
        cookies = parser.read(request.headers.get("cookie"))
        theme, user = cookies.plain.get("theme"), cookies.signed.get("user")
        response.set_cookie("user", parser.write({"id": 7}, signed=True))

    Args:
        secret: what cookies are signed with: ``str``, ``bytes``, or a sequence, of which the first signs and all verify. None: cookies
            are not signed.

    Raises:
        ConfigurationError: a secret is empty, or something else.
    """

    __slots__ = ("_signers",)

    def __init__(self, secret: Secret | Sequence[Secret] | None = None) -> None:
        secrets = () if secret is None else check_secrets(secret)
        self._signers = tuple(Signer([one], "express") for one in secrets)

    def __repr__(self) -> str:
        return f"CookieParser({len(self._signers)} secrets)"

    def read(self, header: str | bytes | None) -> Cookies:
        """The cookies of a header. Nothing that it may hold is an error; what is malformed is plain text.

        Args:
            header: the ``Cookie`` header, as Latin-1 where it is a ``str``, which is how frameworks give it. None is none.
        """
        text = header.decode("latin-1") if isinstance(header, bytes) else header or ""
        plain: dict[str, Any] = {}
        signed: dict[str, Any] = {}
        for name, value in _pairs(text).items():
            if self._signers and value.startswith(_SIGNED):
                message = self._unsign(value)
                signed[name] = False if message is None else _from_json(message)
            else:
                plain[name] = _from_json(value)
        return Cookies(plain, signed)

    def write(self, value: object, *, signed: bool = False) -> str:
        """The value of a cookie, percent-encoded, for the framework's own ``set_cookie``.

        Args:
            value: text, a whole number or a bool; or a dict, a list or None, which become JSON.
            signed: sign it with the first secret.

        Raises:
            TypeError: a value of another type, or nothing to sign with.
            ValueError: JSON cannot hold it.
        """
        text = _to_text(value)
        if not signed:
            return encode_value(text)
        if not self._signers:
            raise TypeError("a cookie can only be signed with a secret: CookieParser(secret)")
        return encode_value(self._signers[0].sign(text))

    def _unsign(self, value: str) -> str | None:
        """The text that was signed; None where the signature is wrong."""
        message = value.removeprefix(_SIGNED).rpartition(".")[0]
        given = value.encode("utf-8", "surrogatepass")
        for signer in self._signers:
            if compare_digest(signer.sign(message).encode("utf-8", "surrogatepass"), given):
                return message
        return None


def _pairs(header: str) -> dict[str, str]:
    """Names and decoded values, by the rules of the Node package cookie."""
    pairs: dict[str, str] = {}
    for part in header.split(";") if len(header) > 1 else ():
        name, equals, value = part.partition("=")
        name = name.strip(_BLANKS)
        if equals and name not in pairs and name != _UNKNOWN:
            value = value.strip(_BLANKS)
            quoted = value.startswith('"') and value.endswith('"')
            pairs[name] = _decoded(value[1:-1] if quoted else value)
    return pairs


def _decoded(value: str) -> str:
    """Percent-decoded as by ``decodeURIComponent``; as it is where that would fail."""
    if "%" not in value or "%" in _escapes.sub("", value):
        return value
    try:
        return _escapes.sub(lambda run: bytes.fromhex(run[0].replace("%", "")).decode(), value)
    except UnicodeDecodeError:
        return value


def _from_json(value: str) -> Any:
    """What is behind ``j:``; the text itself where that is no JSON, or means false to JavaScript."""
    if not value.startswith(_JSON):
        return value
    try:
        found = json.loads(value.removeprefix(_JSON), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return value
    return found if found or isinstance(found, dict | list) else value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _to_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, dict | list):
        return _JSON + json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    if isinstance(value, int):
        return json.dumps(value)
    raise TypeError(f"a cookie is made of text, a whole number, a dict or a list, not of a {type(value).__qualname__}")
