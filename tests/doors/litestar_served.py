"""An application of Litestar's for the tests over real servers."""

import os
from collections.abc import AsyncIterator
from typing import Any

from litestar import Litestar, Request, WebSocket, get, websocket
from litestar.background_tasks import BackgroundTask
from litestar.response import Response, Stream
from litestar.security.session_auth import SessionAuth

from sojourn.litestar import SessionDep, SojournPlugin

sessions = SojournPlugin(secret=os.environ["SESSION_SECRET"], store=os.environ["SESSION_STORE"])


async def user_of(session: dict[str, Any], _connection: Any) -> str | None:
    found: str | None = session.get("user")
    return found


@get("/all", exclude_from_auth=True)
async def everything(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return request.session


@get("/cart", exclude_from_auth=True)
async def cart(session: SessionDep) -> None:
    session.setdefault("cart", []).append("tent")


@get("/login", exclude_from_auth=True)
async def login(request: Request[Any, Any, Any]) -> None:
    request.set_session({**request.session, "user": "ann"})


@get("/me")
async def me(request: Request[Any, Any, Any]) -> str:
    return str(request.user)


@get("/logout")
async def logout(request: Request[Any, Any, Any]) -> None:
    request.clear_session()


@get("/cached", cache=True, exclude_from_auth=True)
async def cached(session: SessionDep) -> str:
    session["visitor"] = "the first"
    return "the same for everybody"


async def work(session: SessionDep) -> None:
    session["worked"] = True


@get("/late", exclude_from_auth=True)
async def late(session: SessionDep) -> Response[None]:
    return Response(None, background=BackgroundTask(work, session))


@get("/stream", exclude_from_auth=True)
async def stream(session: SessionDep) -> Stream:
    async def chunks() -> AsyncIterator[str]:
        for n in range(3):
            session["streamed"] = n
            yield str(n)

    return Stream(chunks())


@websocket("/ws")
async def socket(socket: WebSocket[Any, Any, Any], session: SessionDep) -> None:
    await socket.accept()
    session["said"] = await socket.receive_text()
    await session.save()
    await socket.send_text(f"{socket.user}: {session['said']}")
    await socket.close()


app = Litestar(
    [everything, cart, login, me, logout, cached, late, stream, socket],
    plugins=[sessions],
    on_app_init=[
        SessionAuth[str, Any](session_backend_config=sessions.config, retrieve_user_handler=user_of).on_app_init
    ],
)
