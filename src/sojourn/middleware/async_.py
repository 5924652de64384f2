"""The middleware in the async colour: it runs the core's tasks on its store, and its sessions reach the store through it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from ..aio import shielded, sleep
from ..core.commit import Steps, acquire, reload, save
from ..core.state import State
from ..core.transitions import check_reload, note_first_load, note_loaded
from ..errors import StoreError
from ..options import OptionsDict
from ..wire.request import MOST_LOOKUPS
from .base import NOT_LOADED, Middleware
from .drive import run_async
from .sessions import AsyncStoreSessions

__all__ = ["AsyncMiddleware"]

T = TypeVar("T")


class AsyncMiddleware(Middleware):
    """The async colour. Its sessions reach the store through it."""

    def __init__(self, given: OptionsDict) -> None:
        super().__init__(given, asynchronous=True)
        self.guard: Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]] = (
            _directly if getattr(self.store, "in_process", False) else shielded
        )
        """Finishes what it is given even if the client goes away meanwhile."""

    def run(self, steps: Steps[T]) -> Awaitable[T]:
        """Run a task on the store, whatever happens to the client meanwhile."""
        return self.guard(run_async(steps, self.store, sleep))

    async def look_up_or_note(self, state: State) -> bool:
        """Look up the session that the request asks for. False if the response is to be a 503."""
        try:
            await self.look_up(state)
        except StoreError as error:
            return self.load_failed(state, error)
        return True

    async def look_up(self, state: State) -> None:
        """Look up the session that the request asks for; where it is exclusive, once no other request has it."""
        if self.options.exclusive is not None and self.is_exclusive(state):
            key = self.settings.key_of(state.arrival.ids[0].id)
            state.lock = key, await run_async(acquire(key), self.store, sleep)
        key_of, load = self.settings.key_of, self.store.load
        for verified in state.arrival.ids[:MOST_LOOKUPS]:
            key = key_of(verified.id)
            if note_loaded(state, verified, key, await load(key)):
                break
        if self.loads.failures:
            self.loads.success()

    async def load(self, state: State) -> None:
        """Look up the session in the midst of a handler; see `SyncMiddleware.load`."""
        try:
            await self.look_up(state)
        except StoreError as error:
            if not self.load_failed(state, error):
                raise

    async def save(self, state: State) -> None:
        await self.run(save(state))
        self.writes.success()

    async def reload(self, state: State) -> None:
        if state.found in NOT_LOADED:
            check_reload(state)
            await self.look_up(state)
            note_first_load(state)
        else:
            await run_async(reload(state), self.store, sleep)

    @property
    def sessions(self) -> AsyncStoreSessions:
        return AsyncStoreSessions(self.store, self.settings)


def _directly(work: Coroutine[Any, Any, T]) -> Awaitable[T]:
    # A store in this process never suspends, so that nothing can cancel it half way.
    return work
