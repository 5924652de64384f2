"""A form and a WebSocket that pages of other sites cannot use. Run it:  uvicorn guarded_form:app"""

import os

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from sojourn.starlette import CrossSiteGuard, SessionMiddleware, session_of

PAGE = """<!doctype html>
<title>Notes</title>
<p id="count">{count}</p>
<form method="post" action="/notes"><button>Add a note</button></form>
"""


async def page(request: Request) -> Response:
    return HTMLResponse(PAGE.format(count=session_of(request).get("notes", 0)))


async def add(request: Request) -> Response:
    session_of(request).increment("notes")  # no token in the form, and none to check
    return RedirectResponse("/", status_code=303)


async def live(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(f"{socket.session.get('notes', 0)} notes")
    await socket.close()


async def hook(_request: Request) -> Response:
    return Response(status_code=204)  # whoever calls this is no page of ours, and shows who it is in another way


app = Starlette(
    routes=[
        Route("/", page),
        Route("/notes", add, methods=["POST"]),
        Route("/hook", hook, methods=["POST"]),
        WebSocketRoute("/live", live),
    ],
    middleware=[
        # The guard first: what it refuses loads no session.
        Middleware(CrossSiteGuard, exclude=["/hook"]),
        Middleware(
            SessionMiddleware,
            secret=os.environ.get("SESSION_SECRET", "an example secret of more than 32 bytes"),
            store=os.environ.get("SESSION_STORE", "sqlite:///sessions.db"),
        ),
    ],
)
