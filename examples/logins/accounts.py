"""What an application knows of its users: passwords, second factors, and the single sign-on of a provider. No session is in here.

Where yours has a database, this is a table of users; Werkzeug and Django come with functions for passwords of their own.
"""

import hashlib
import hmac
import os
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from joserfc import jwt  # for the provider's tokens
from joserfc.errors import JoseError
from joserfc.jwk import OctKey


def hash_password(password: str) -> str:
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}.{_scrypt(password, salt).hex()}"


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=5)  # OWASP Password Storage Cheat Sheet


@dataclass
class User:
    name: str
    password_hash: str
    code_key: bytes | None = None  # with a second factor: what the app on the phone and we share
    is_admin: bool = False
    is_active: bool = True

    @property
    def stamp(self) -> str:
        """What their logins are bound to: another password, or another second factor, ends them."""
        return f"{self.password_hash}.{(self.code_key or b'').hex()}"

    def has_password(self, password: str) -> bool:
        salt, hashed = map(bytes.fromhex, self.password_hash.split("."))
        return hmac.compare_digest(_scrypt(password, salt), hashed)

    def has_code(self, code: str) -> bool:
        """Whether it is the code of this half minute, or of the one before (RFC 6238). An application also refuses one that was used."""
        now = int(time.time()) // 30
        codes = [code_at(self.code_key or b"", step) for step in (now, now - 1)]
        return self.code_key is not None and any(hmac.compare_digest(code.encode(), one.encode()) for one in codes)


def code_at(key: bytes, step: int) -> str:
    digest = hmac.digest(key, step.to_bytes(8, "big"), "sha1")
    start = digest[-1] & 15
    return f"{(int.from_bytes(digest[start : start + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06}"


_NOBODY = User("", hash_password(""))
USERS = {
    user.name: user
    for user in (
        User("ann", hash_password("pear")),
        User("bob", hash_password("plum"), code_key=b"the key of bob's phone"),
        User("cid", hash_password("kiwi")),
        User("root", hash_password("fig"), is_admin=True),
    )
}


def authenticate(name: str, password: str) -> User | None:
    """The user, if the password is theirs. It takes as long for a name that nobody has. An application also limits how often one may try."""
    user = USERS.get(name, _NOBODY)
    return user if user.has_password(password) and user is not _NOBODY and user.is_active else None


def by_name(name: str | None) -> User | None:
    user = USERS.get(name or "")
    return user if user is not None and user.is_active else None


@dataclass
class Provider:
    """An OpenID provider, as far as sessions are concerned. Authlib and others do what goes before: discovery, the code, keys, the nonce."""

    issuer: str = "https://login.test"
    client_id: str = "the-shop"
    key: OctKey = field(
        default_factory=lambda: OctKey.import_key(
            os.environ.get("CLIENT_SECRET", "a client secret of more than 32 bytes")
        )
    )
    seen: set[str] = field(default_factory=set)

    def id_claims(self, token: str) -> dict[str, Any] | None:
        """What an ID token says: ``sub``, their user; ``sid``, their session. None: it is not from there, or not for us."""
        return self._claims(token, exp={"essential": True})

    def logout_claims(self, token: str) -> dict[str, Any] | None:
        """What a logout token says (OpenID Connect Back-Channel Logout 1.0, section 2.6). None: it is none."""
        claims = self._claims(token, exp={"essential": True}, jti={"essential": True}, events={"essential": True})
        if (
            claims is None
            or "http://schemas.openid.net/event/backchannel-logout" not in claims["events"]
            or "nonce" in claims  # an ID token is none
            or not ("sub" in claims or "sid" in claims)
            or claims["jti"] in self.seen
        ):
            return None
        self.seen.add(claims["jti"])
        return claims

    def _claims(self, token: str, **more: Any) -> dict[str, Any] | None:
        registry = jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": self.issuer}, aud={"essential": True, "value": self.client_id}, **more
        )
        try:
            claims = jwt.decode(token, self.key, algorithms=["HS256"]).claims
            registry.validate(claims)
        except (JoseError, ValueError):
            return None
        return claims


PROVIDER = Provider()
