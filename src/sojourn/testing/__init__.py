"""Tests for any store: the store contract as a pytest suite, written once for both colours.

Subclass the suite of your store's colour where pytest collects, and say how a store is made. It must be empty, and share
its data with no other; the fixtures of a test class are at hand as usual::

    from sojourn.testing import AsyncStoreContract, StoreContract, store_state_machine

    class TestMyStore(StoreContract):
        def make_store(self, clock):
            return MyStore(clock=clock)

    class TestMyServerStore(AsyncStoreContract):
        short, tick = 400, 100                # no clock to move: really wait, and mind delays

        def make_store(self, clock):
            return MyServerStore(prefix=f"test-{uuid4()}:")

        async def advance(self, ms):
            await anyio.sleep(ms / 1000)

    TestMyStoreAgainstAModel = store_state_machine(lambda clock: MyStore(clock=clock)).TestCase

`isolated_stores` keeps the tests of an application apart, where its store is given by URL::

    @pytest.fixture(autouse=True)
    def stores():
        with isolated_stores():
            yield

A test client's session is read, written and logged in, for Starlette's ``TestClient`` and for httpx's clients of ASGI applications::

    write_session(client, {"cart": ["pear"]})
    log_in(client, "ann")
    assert read_session(client)["cart"] == ["pear"]

Class attributes say what a store lacks: see `sojourn.testing.contract.harness.Harness`. Capabilities are found by the
presence of their methods, and the cases for missing ones are skipped. Needs ``pip install
'sojourn[testing]'``: pytest, Hypothesis and AnyIO, each imported when it is first needed.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, Final

from ..stores._sharing import isolated_stores
from .clients import log_in, read_session, write_session
from .clock import ManualClock
from .colour import FullStore, as_async

if TYPE_CHECKING:
    from .contract import AsyncStoreContract, StoreContract
    from .machine import store_state_machine

__all__ = [
    "AsyncStoreContract",
    "FullStore",
    "ManualClock",
    "StoreContract",
    "as_async",
    "isolated_stores",
    "log_in",
    "read_session",
    "store_state_machine",
    "write_session",
]

_MODULES: Final = {"AsyncStoreContract": "contract", "StoreContract": "contract", "store_state_machine": "machine"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = f"{__name__}.{_MODULES[name]}"
    pytest = sys.modules.get("pytest")
    if pytest is not None and module not in sys.modules:
        pytest.register_assert_rewrite(module)
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name in {"anyio", "hypothesis", "pytest"}:
            message = f"{__name__}.{name} needs {error.name}: pip install 'sojourn[testing]'"
            raise ImportError(message, name=error.name) from error
        raise  # pragma: no cover - of a package that one of these needs itself
