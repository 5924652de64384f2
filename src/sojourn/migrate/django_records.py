"""What Django keeps of a session, read as a record of ours. No I/O, and no Django.

The backends ``db`` and ``cached_db`` keep a row with `django.core.signing.dumps` of the dict: ``[.]base64url:time:signature``, deflated where it
begins with a dot. The signature is an HMAC with SHA-256, whose key is made of a salt and of the application's secret. The backend ``cache``
keeps a pickle of the dict.
"""

from __future__ import annotations

import hashlib
import hmac
import string
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final

from ..clock import Clock, system_clock
from ..errors import SessionDecodeError
from ..ids import check_owner, refusal_by
from .library_records import LIBRARIES, LibraryCodec, moment

__all__ = ["DjangoCodec"]

_SALT: Final = b"django.contrib.sessions.SessionStore" + b"signer"
"""Of every engine: it is made of the name of the class, which is always this."""
_DIGITS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_USER: Final = "_auth_user_id"
"""Under which contrib.auth keeps who is logged in."""


class DjangoCodec(LibraryCodec):
    """What Django's session backends wrote, as ours: whoever is logged in owns the session.

    Args:
        secrets: those that may have signed it; none for a cache, where nothing is signed.
        pickles: whether pickles are read too.
        clock: milliseconds since the epoch.
    """

    def __init__(self, secrets: tuple[bytes, ...] = (), *, pickles: bool = False, clock: Clock = system_clock) -> None:
        super().__init__(LIBRARIES["django"], pickles=pickles)
        self._now = clock()
        self._keys = [hashlib.sha256(_SALT + secret).digest() for secret in secrets]

    def _open(self, stored: bytes) -> tuple[bytes, int | None]:
        """The dict as it was serialized, and when: the session exists since then at least. A cache does not tell, so that now has to do.

        Raises:
            SessionDecodeError: it was not signed by any of the secrets.
        """
        if not self._keys:
            return stored, self._now
        if not stored:
            raise SessionDecodeError("the row has no data, or no date that can be read")
        signed, _, signature = stored.rpartition(b":")
        if not any(hmac.compare_digest(signature, _signature(signed, key)) for key in self._keys):
            raise SessionDecodeError("the row was signed by none of the secrets")
        try:
            text, _, time = signed.rpartition(b":")
            packed = urlsafe_b64decode(text.removeprefix(b".") + b"==")  # more than is needed is passed over
            return zlib.decompress(packed) if text.startswith(b".") else packed, moment(_seconds(time.decode()))
        except (ValueError, zlib.error) as error:
            raise SessionDecodeError(f"the row cannot be read ({type(error).__name__})") from None

    def _owner(self, tree: dict[Any, Any]) -> str | None:
        user = tree.get(_USER)
        return user if isinstance(user, str) and refusal_by(check_owner, user) is None else None


def _signature(signed: bytes, key: bytes) -> bytes:
    return urlsafe_b64encode(hmac.digest(key, signed, hashlib.sha256)).rstrip(b"=")


def _seconds(text: str) -> int:
    """A number in base 62."""
    number = 0
    for digit in text:
        number = number * len(_DIGITS) + _DIGITS.index(digit)
    return number
