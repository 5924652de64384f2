"""The middleware in the sync colour: it runs the core's tasks on its store, and its sessions reach the store through it."""

from __future__ import annotations

from typing import TypeVar

from ..core.commit import Steps, acquire, reload, save
from ..core.state import State
from ..core.transitions import check_reload, note_first_load, note_loaded
from ..errors import StoreError
from ..options import OptionsDict
from ..wire.request import MOST_LOOKUPS
from .base import NOT_LOADED, Middleware
from .drive import run
from .sessions import StoreSessions

__all__ = ["SyncMiddleware"]

T = TypeVar("T")


class SyncMiddleware(Middleware):
    """The sync colour. Its sessions reach the store through it."""

    def __init__(self, given: OptionsDict) -> None:
        super().__init__(given, asynchronous=False)

    def run(self, steps: Steps[T]) -> T:
        """Run a task on the store."""
        return run(steps, self.store)

    def look_up_or_note(self, state: State) -> bool:
        """Look up the session that the request asks for. False if the response is to be a 503."""
        try:
            self.look_up(state)
        except StoreError as error:
            return self.load_failed(state, error)
        return True

    def look_up(self, state: State) -> None:
        """Look up the session that the request asks for; where it is exclusive, once no other request has it."""
        if self.options.exclusive is not None and self.is_exclusive(state):
            key = self.settings.key_of(state.arrival.ids[0].id)
            state.lock = key, self.run(acquire(key))
        key_of, load = self.settings.key_of, self.store.load
        for verified in state.arrival.ids[:MOST_LOOKUPS]:
            key = key_of(verified.id)
            if note_loaded(state, verified, key, load(key)):
                break
        if self.loads.failures:
            self.loads.success()

    def load(self, state: State) -> None:
        """Look up the session in the midst of a handler. Where that fails, what the handler sends becomes a 503.

        Raises:
            StoreError: it failed, and the request cannot go on.
        """
        try:
            self.look_up(state)
        except StoreError as error:
            if not self.load_failed(state, error):
                raise

    def save(self, state: State) -> None:
        self.run(save(state))
        self.writes.success()

    def reload(self, state: State) -> None:
        if state.found in NOT_LOADED:
            check_reload(state)
            self.look_up(state)
            note_first_load(state)
        else:
            self.run(reload(state))

    @property
    def sessions(self) -> StoreSessions:
        return StoreSessions(self.store, self.settings)
