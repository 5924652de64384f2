"""The door: around the whole of Pyramid, and within it.

Pyramid asks its *execution policy* for every response, and a response is a WSGI application. Ours is such a response: `Door`, our WSGI
middleware, around whatever policy is configured. So the session is committed after all views, exception views, tweens, response
callbacks and subscribers, and before any byte leaves; bodies that are streamed are waited for.

Within, a subscriber of `NewRequest` loads the session, and exception views say what is sent where the store fails or a value cannot be
stored. Where a policy makes several attempts at a request, each begins with the session as the store has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pyramid.interfaces import IExecutionPolicy
from pyramid.router import default_execution_policy

from ..codecs import LenientCodec
from ..core.ended import end
from ..core.session import BaseSession, Session, state_of
from ..core.state import Found, State
from ..driver import ErrorResponse, SessionExchange
from ..errors import SojournError, StoreError, StoreUnavailable
from ..options import OptionsDict
from ..wsgi import ENVIRON_KEY, Environ, SessionMiddleware, StartResponse, WSGIExchange
from .session import PyramidSession

__all__ = ["EXCHANGE", "NAME", "Door"]

NAME: Final = "sojourn.pyramid"
"""Under which a registry has its door, and a configurator knows the action that installs it."""
EXCHANGE: Final = NAME
"""Where in the environ a request's exchange is."""
_NO_PLACE: Final = "the session is unavailable because this path has none: it is outside of the cookie's path, or excluded by `exclude`"


class Door(SessionMiddleware):
    """An application's sessions: what it answers requests with, and where their sessions come from."""

    session_class: type[Session] = PyramidSession

    def __init__(self, options: OptionsDict) -> None:
        codec = options.get("codec")
        options = {**options, "codec": codec if isinstance(codec, LenientCodec) else LenientCodec(codec)}
        super().__init__(self._respond, **options)
        self._policy: Any = default_execution_policy
        self._router: Any = None

    def install(self, registry: Any) -> None:
        """Take the execution policy's place in an application, and let it do its work."""
        self._policy = registry.queryUtility(IExecutionPolicy, default=default_execution_policy)
        registry.registerUtility(self.execution_policy, IExecutionPolicy)
        registry[NAME] = self

    def execution_policy(self, _environ: Environ, router: Any) -> Door:
        """Pyramid's: what it is to respond with."""
        self._router = router
        return self

    def look_up_or_note(self, state: State) -> bool:
        return True  # `begin` does, when Pyramid has made its request

    def _respond(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """What we are around of."""
        exchange: PyramidExchange = environ.get(EXCHANGE)  # type: ignore[assignment]  # below
        try:
            response = self._policy(environ, self._router)
        except StoreError as error:
            if exchange is None:  # where there is no session
                raise
            if exchange.state.found is not Found.UNAVAILABLE:  # which was told
                self.writes.failure(error, "requests get a 503")
            return WSGIExchange.send_unavailable(exchange)
        except BaseException:
            if exchange is not None:
                exchange.let_go()
            raise
        body: Iterable[bytes] = response(environ, start_response)
        return body

    def session_of(self, request: Any) -> PyramidSession:
        """Pyramid's session factory.

        Raises:
            RuntimeError: the request has none.
            StoreError: it cannot be loaded.
        """
        exchange: PyramidExchange | None = request.environ.get(EXCHANGE)
        if exchange is None:
            return self._session_alone(request)
        exchange.begin(request)
        assert isinstance(exchange.session, PyramidSession)
        return exchange.session

    def _session_alone(self, request: Any) -> PyramidSession:
        """The session of a request that did not come from a server: a subrequest, or one of a script. Its own response carries the cookie."""
        already = request.environ.get(ENVIRON_KEY)
        if isinstance(already, BaseSession):  # another middleware of ours is around the application, which has said so
            return PyramidSession(state_of(already))  # one session with two faces
        arrival = self.arrive(request.environ)
        if arrival is None:
            raise RuntimeError(_NO_PLACE)
        state = State(self.settings, arrival, self, Found.PENDING if arrival.ids else Found.NOTHING)
        session = PyramidSession(state)
        exchange = SessionExchange(self, state, [], session)

        def commit(_request: Any, response: Any) -> None:
            headers = exchange.respond(response.headerlist)
            if isinstance(headers, ErrorResponse):
                raise StoreUnavailable("the session of a subrequest could not be loaded or stored")
            response.headerlist = headers

        request.add_response_callback(commit)
        request.add_finished_callback(lambda _request: exchange.finish(failed=not state.sent))
        return session


class PyramidExchange(WSGIExchange[Door]):
    """One request and its response; of several attempts at the request the last one counts."""

    request: Any = None
    """The request as Pyramid made it for this attempt."""
    is_over: bool = False
    """The attempt is over."""

    def __post_init__(self) -> None:
        self.slot[EXCHANGE] = self  # type: ignore[index]  # an environ

    def begin(self, request: Any) -> None:
        """Load the session for a request, unless that was done or is to be done on first use.

        Raises:
            StoreError: it cannot be loaded.
        """
        if self.is_over and request is not self.request:
            self._begin_anew()
        if self.request is None:
            self.request = request
            request.add_finished_callback(self._note_over)
        state, door = self.state, self.middleware
        if state.found is Found.PENDING and state.data is None and not door.options.lazy:
            door.load(state)

    def _note_over(self, _request: Any) -> None:
        self.is_over = True

    def _begin_anew(self) -> None:
        """Forget an attempt, with all that it did to the session: the next one does it again."""
        self.middleware.unlock(self.state)
        end(self.session)
        arrival = self.state.arrival
        found = Found.PENDING if arrival.ids else Found.NOTHING
        self.state: State = State(self.middleware.settings, arrival, self.middleware, found)
        self.session: BaseSession = PyramidSession(self.state)
        self.slot[ENVIRON_KEY] = self.session  # type: ignore[index]  # as above
        self.request, self.is_over = None, False

    def leave(self) -> bytes | None:
        if self.state.sent:
            return WSGIExchange.leave(self)
        if self.state.found is Found.UNAVAILABLE and isinstance(getattr(self.request, "exception", None), StoreError):
            assert self.started is not None
            self.state.sent = True  # the application's own page says so
            self.forward(*self.started)
            return None
        try:
            return WSGIExchange.leave(self)
        except SojournError as error:
            response = self._view_of(error)
            if response is None:
                raise
        self.start_response(response.status, response.headerlist, exc_info=True)  # once more, as one may after an error
        instead = WSGIExchange.leave(self)  # nothing is saved, and what was to end ends
        return self.swallow(response.body) if instead is None else instead

    def send_unavailable(self) -> list[bytes]:
        response = None if self.failure is None else self._view_of(self.failure)
        if response is None:
            return WSGIExchange.send_unavailable(self)
        return self.send_instead(response.status, list(response.headerlist), response.body)

    def _view_of(self, error: SojournError) -> Any:
        """What the application's exception views make of an error; None if they make nothing of it."""
        if self.request is None:
            return None
        try:
            return self.request.invoke_exception_view((type(error), error, error.__traceback__), reraise=True)
        except SojournError:  # none is for it, or it failed itself
            return None

    def end(self, *, failed: bool) -> None:
        self.let_go()
        WSGIExchange.end(self, failed=failed)

    def let_go(self) -> None:
        """Be forgotten by the environ: each would hold the other until the garbage collector comes."""
        self.slot.pop(EXCHANGE, None)  # type: ignore[attr-defined]  # as above


Door.exchange_class = PyramidExchange
