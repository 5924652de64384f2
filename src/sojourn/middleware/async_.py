"""The middleware in the async colour: it runs the core's tasks on its store, and its sessions reach the store through it."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import suppress
from inspect import isawaitable
from typing import Any, Final, TypeVar, cast

from ..aio import deliver_cancellation, here, late, new_event, shielded, sleep, wait
from ..core.commit import look_up_alone, reload, save, use
from ..core.plan import Create, Phase, Plan, Regenerate, Replace, Touch
from ..core.state import Found, State
from ..core.steps import Lock, Pause, Steps, Turn, Unlock, lock_turn
from ..core.store import LOCK_MS, Outcome, Stored, near_of, unbroken_of
from ..core.transitions import check_reload, note_committed, note_done, note_first_load, note_loaded, note_looked_up
from ..errors import StoreError
from ..events import SessionEvent
from ..options import OptionsDict
from .base import NOT_LOADED, Middleware
from .drive import CALLS, AsyncWaits, capability, run_async, run_at_once
from .exchange import Exchange
from .sessions import AsyncStoreSessions
from .telling import told_async
from .turns import Line, patience, waited_too_long
from .watching import Changes, Watchers, watchers_of

__all__ = ["AsyncMiddleware"]

T = TypeVar("T")
_WRITES: Final = (Create, Replace, Regenerate, Touch)


def _ask_the_store(_key: str) -> None:
    """The near cache of a store that has none."""


class AsyncMiddleware(Middleware):
    """The async colour. Its sessions reach the store through it."""

    def __init__(self, given: OptionsDict) -> None:
        super().__init__(given, asynchronous=True)
        self._near = near_of(self.store)
        self._unbroken = unbroken_of(self.store)
        self.watchers: Watchers = watchers_of(self.store)
        self._waits: AsyncWaits = {
            Turn: self._take,
            Touch: self._touch,
            Pause: self._pause,
            Lock: self._lock,
            Unlock: self._unlock,
        }
        if self.listeners is not None:
            self.listeners.install(self, told_async)

    async def run(self, steps: Steps[T], _state: State | None = None) -> T:
        """Run a task on the store, of such a request, to its end whatever happens to the client meanwhile."""
        if self.direct is not None:
            return run_at_once(steps, self.direct)
        if self._unbroken is not None:
            return await self._run_unbroken(steps, self._unbroken)
        return await shielded(run_async(steps, self.store, self._waits))

    async def _run_unbroken(self, steps: Steps[T], store: Any) -> T:
        """`run` with a store whose writes cannot be cut short: the first is not shielded, and nearly every task ends with it."""
        try:
            op = next(steps)
            if type(op) is Turn and (here(), op.key) not in self.turns.lines:
                op = steps.send(await self._take(op))  # which does not wait
        except StopIteration as stop:
            return cast("T", stop.value)
        if type(op) not in _WRITES or (isinstance(op, Touch) and self.turns.touches.is_under_way(op.key)):
            return await shielded(run_async(steps, self.store, self._waits, op))
        returned, error = None, None
        try:
            returned = await (self._touch(op, store) if isinstance(op, Touch) else CALLS[type(op)](store, op))
        except Exception as caught:  # noqa: BLE001 - the steps decide what to do about it
            error = caught
        except BaseException:  # pragma: no cover - an interrupt of the process, in the midst of it
            steps.close()
            raise
        return await self._go_on(steps, returned, error)

    async def _go_on(self, steps: Steps[T], returned: Any, error: Exception | None) -> T:
        """Go on with a task whose first write was not shielded, from what became of that."""
        try:
            op = steps.send(returned) if error is None else steps.throw(error)
        except Exception as end:
            await deliver_cancellation()
            if isinstance(end, StopIteration):
                return cast("T", end.value)
            raise
        return await shielded(run_async(steps, self.store, self._waits, op))

    async def tell(self, noted: list[SessionEvent] | None) -> None:
        """Tell whoever listens what is noted, and what happened to the store."""
        if self.listeners is None:
            return
        for event in self.listeners.due(noted):
            for listener in self.listeners.listeners:
                try:
                    told = listener(event)
                    if isawaitable(told):
                        await told
                except Exception as error:  # noqa: BLE001 - whatever it is, the request goes on
                    self.listeners.note_failure(event.kind, error)

    async def _looked_up(self, state: State) -> None:
        """Note that a look-up went well, and what it has found."""
        self.loads.success()
        if self.listeners is None:
            return
        has_expired = getattr(self.store, "has_expired", None) if state.found is Found.NOTHING else None
        expired = []
        with suppress(StoreError):
            expired = [key for key in state.arrival.keys if has_expired is not None and await has_expired(key)]
        note_looked_up(state, expired)

    async def _take(self, turn: Turn) -> Line:
        """Wait for one's turn among the tasks of this event loop; see `Turns.take`."""
        line, told = self.turns.enter((here(), turn.key), new_event, waits=turn.waits)
        if told is not None:
            is_turn = False
            try:
                is_turn = await wait(told, patience(turn))
            finally:
                if not is_turn:
                    line.give_up(told)
            if not is_turn:
                raise waited_too_long()
        return line

    def _touch(self, op: Touch, store: Any = None) -> Coroutine[Any, Any, bool]:
        """Touch a session, together with the others that ask for it meanwhile."""
        return self.turns.touches.touch(self.store if store is None else store, op.key, op.ttl)

    async def _pause(self, op: Pause) -> None:
        """Pause, until woken where that can be."""
        if op.turn is None:
            await sleep(op.seconds)
        else:
            await wait(op.turn.nap(new_event()), op.seconds)

    async def _lock(self, op: Lock) -> Any:
        """Take a lock: whoever is cancelled meanwhile must still hear of it, to give it back."""
        return await shielded(self._lock_to_the_end(op))

    async def _lock_to_the_end(self, op: Lock) -> Any:
        token = await capability(self.store, "lock")(op.key, LOCK_MS)
        if token is not None:
            op.note(token)
        return token

    async def _unlock(self, op: Unlock) -> Any:
        """Give a lock back, and tell who waits for it in this event loop."""
        was_held = await CALLS[Unlock](self.store, op)
        if not op.again:
            self.turns.wake((here(), lock_turn(op.key)))
        return was_held

    async def respond(self, exchange: Exchange[Any], plan: Plan, phase: Phase) -> Plan | None:
        """Carry a plan out; returns what is to be sent, None where that is a 503.

        An ordinary change at which nobody else is, is done at the first try nearly always, and then takes no steps.
        """
        write, turns, store = plan.write, self.turns, self._unbroken
        if (
            type(write) is not Replace
            or store is None
            or plan.ends
            or exchange.state.lock is not None
            or (turn := (here(), write.key)) in turns.lines
        ):
            return await self.run(exchange.respond(plan, phase))
        line = turns.lines[turn] = Line(turns, turn)  # `enter`: whoever comes to it comes on this event loop
        returned, error = None, None
        try:
            returned = await store.replace(write.key, write.data, write.ttl, version=write.version, owner=write.owner)
        except Exception as caught:  # noqa: BLE001 - as above
            error = caught
        except BaseException:  # pragma: no cover - an interrupt of the process, in the midst of it
            line.leave()
            raise
        if error is None and not isinstance(returned, Outcome):
            note_committed(exchange.state, plan, returned)
            if line.inside == 1 and line.waiting is None:  # `leave`, of one who was alone
                turns.lines.pop(turn, None)
            else:
                line.leave(Stored(write.data, returned, write.ttl))
            if self.writes.awaits:
                self.writes.success()
                if self.listeners is not None:
                    note_done(exchange.state, plan)
            if late:
                await deliver_cancellation()
            return plan
        steps = exchange.respond(plan, phase)
        next(steps)
        steps.send(line)  # it is its turn, and the write was tried
        return await self._go_on(steps, returned, error)

    async def look_up_or_note(self, state: State) -> bool:
        """Look up the session that the request asks for. False if the response is to be a 503."""
        try:
            await self.look_up(state)
        except StoreError as error:
            return self.load_failed(state, error)
        return True

    async def look_up(self, state: State, *, fresh: bool = False) -> None:
        """Look up the session that the request asks for; where it is exclusive, once no other request has it.

        Where that fails, whatever the reason, the session is not locked. ``fresh``: the store itself is asked, also where it has a near cache.
        """
        if self.options.exclusive is not None and self.is_exclusive(state):
            try:
                await run_async(look_up_alone(state), self.store, self._waits)
            except BaseException:
                await self.unlock(state)
                raise
            await self._looked_up(state)
            return
        if self.direct is not None:
            self.find(state, self.direct)
            return
        load, arrival, near = self.store.load, state.arrival, self._near
        if near is None or fresh or (self.options.fresh is not None and self.options.fresh(arrival.request)):
            near = _ask_the_store
        for verified, key in zip(arrival.ids, arrival.keys):  # noqa: B905 - as in `find`
            if note_loaded(state, verified, key, near(key) or await load(key)):
                break
        if self.loads.awaits:
            await self._looked_up(state)

    async def finish(self, exchange: Exchange[Any], *, failed: bool) -> None:
        """Do what is left after the application is done, and give an exclusive session back, whatever happens."""
        try:
            await self.run(exchange.finish(failed=failed))
        finally:
            await self.unlock(exchange.state)

    async def unlock(self, state: State) -> None:
        """Give an exclusive session back, if this request has it."""
        if state.lock is not None:
            await shielded(run_async(self.unlocked(state), self.store, self._waits))

    async def load(self, state: State) -> None:
        """Look up the session in the midst of a handler; see `SyncMiddleware.load`."""
        try:
            await self._look_up_once(state)
        except StoreError as error:
            if not self.load_failed(state, error):
                raise

    async def _look_up_once(self, state: State, *, fresh: bool = False) -> None:
        """Look up a session that several tasks of its request may ask for at once."""
        while state.looking is not None:
            await state.looking.wait()
        if state.found not in NOT_LOADED:  # another one has it by now
            return
        state.looking = new_event()
        try:
            await self.look_up(state, fresh=fresh)
        finally:
            state.looking, done = None, state.looking
            done.set()

    async def save(self, state: State) -> None:
        state.saving += 1
        try:
            await self.run(save(state))
        finally:
            state.saving -= 1
        self.writes.success()

    def changes(self, state: State) -> Changes:
        return Changes(self.watchers, state)

    async def use(self, state: State) -> None:
        """Count a message of an open connection as use of its session, whose idle time begins anew."""
        try:
            await self.run(use(state))
        except StoreError as error:
            self.writes.failure(error, "the use of a session is not noted")

    async def reload(self, state: State) -> None:
        if state.found in NOT_LOADED:
            check_reload(state)
            await self._look_up_once(state, fresh=True)
            note_first_load(state)
        else:
            await run_async(reload(state), self.store)

    @property
    def sessions(self) -> AsyncStoreSessions:
        return AsyncStoreSessions(self.store, self.settings, self.tell)
