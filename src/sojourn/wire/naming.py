"""The name that the cookie is sent and read under."""

from __future__ import annotations

from typing import Final

from ..cookie import Cookie
from ..options import Options

__all__ = ["CookieNaming"]

_HOST: Final = "__Host-"


class CookieNaming:
    """``name``, or ``__Host-name`` where browsers allow that prefix, and under no other name."""

    __slots__ = ("_may_prefix", "_name")

    def __init__(self, options: Options) -> None:
        self._name = options.name
        self._may_prefix = options.profile.host_prefix

    def is_prefixed(self, cookie: Cookie, *, secure: bool) -> bool:
        """Whether the cookie goes under ``__Host-``: where it is Secure, has path ``/`` and no domain (RFC 6265bis, 4.1.3.2)."""
        if self._name.startswith("__"):
            return self._name.lower().startswith("__host-")
        return (
            self._may_prefix
            and cookie.path == "/"
            and cookie.domain is None
            and (cookie.secure is True or (secure and cookie.secure == "auto"))
        )

    def name_of(self, cookie: Cookie, *, secure: bool) -> str:
        """The name to send it and to read it under."""
        adds_prefix = not self._name.startswith("__") and self.is_prefixed(cookie, secure=secure)
        return _HOST + self._name if adds_prefix else self._name
