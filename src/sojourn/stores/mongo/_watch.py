"""What MongoDB tells of a collection by a change stream, to one event loop. A deployment without replication has none, and is polled.

The stream has a line, of some hundred bytes, for every write to the collection, a touch too, by whomever: to have the server pick those of the
keys that are watched, the stream would have to be opened anew with each of them.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from bson import CodecOptions
from bson.errors import BSONError
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure, PyMongoError

from ...core.store import Replaced, Seen, Told

__all__ = ["ChangeStream"]

_PLAIN: Final[CodecOptions[Any]] = CodecOptions(unicode_decode_error_handler="replace")
_KEYS: Final = [{"$project": {"documentKey": 1}}]
_PATIENCE: Final = 1000  # ms for which the server waits for something to tell


class ChangeStream:
    """See `sojourn.stores.base.Watch`.

    Args:
        collection: that of the sessions, whose keys are the ``_id``.
        look: the store's.
        told: called with what is told.
    """

    def __init__(
        self,
        collection: AsyncCollection[Any],
        look: Callable[[Sequence[str]], Awaitable[Mapping[str, Seen | Replaced]]],
        told: Told,
    ) -> None:
        self._collection = collection.with_options(codec_options=_PLAIN)
        self._look = look
        self._told = told
        self._listening: asyncio.Task[None] | None = None
        self._is_refused = False

    @property
    def is_told(self) -> bool:
        return self._listening is not None

    async def look(self, keys: Sequence[str]) -> Mapping[str, Seen | Replaced]:
        if self._listening is None and not self._is_refused:
            await self._begin()
        return await self._look(keys)

    async def close(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening

    async def _begin(self) -> None:
        try:
            stream = await self._collection.watch(_KEYS, max_await_time_ms=_PATIENCE)
        except OperationFailure:  # it has none, or does not let us
            self._is_refused = True
        except PyMongoError:
            pass  # what is read next fails likewise, and says so
        else:
            loop = asyncio.get_running_loop()
            self._listening = loop.create_task(self._listen(stream), context=contextvars.Context())

    async def _listen(self, stream: AsyncChangeStream[Any]) -> None:
        try:
            while stream.alive:
                event = await stream.try_next()
                if event is not None:
                    key = event.get("documentKey", {}).get("_id")
                    self._told((key,) if isinstance(key, str) else None)
        except (PyMongoError, BSONError):
            pass  # it is opened anew with the next look
        finally:
            with suppress(PyMongoError):
                await stream.close()
            if self._listening is asyncio.current_task():
                self._listening = None
                self._told(None)
