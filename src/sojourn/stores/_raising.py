"""How a store raises what a driver's error means, so that nothing leads back to that."""

from __future__ import annotations

from typing import NoReturn

from ..errors import StoreError

__all__ = ["raise_alone"]


def raise_alone(error: StoreError) -> NoReturn:
    """Raise it without a cause and without a context, even while the driver's error is being handled.

    ``raise ... from None`` leaves the context in place, for whoever walks along it by hand, as some reporters of errors do.
    """
    try:
        raise error from None
    except StoreError:
        error.__context__ = None
        raise
